"""What versions say of each document by itself, so that two runs can be compared on the same versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.base import RightOrWrong, ratio
from mibe.metrics.variants import divergence, flips
from mibe.results.draws import spread_name
from mibe.results.variants import DIVERGENCE, FLIPPED, all_name, mean_name, worst_name
from mibe.run.columns import Columns
from mibe.run.variants import Samples, answers_of
from mibe.task import Task
from mibe.variation import ROBUSTNESS


class Beside(NamedTuple):
    """What a way says of each document, to compare two runs by.

    `table` has shape (documents, statistics); `figures` maps its totals to the figures of these `names`.
    """

    documents: list[str]
    table: FloatArray
    names: tuple[str, ...]
    figures: Callable[[FloatArray], FloatArray]


def beside(task: Task, columns: Columns) -> dict[str, Beside]:
    """Way → its figures document by document, of a task with an answer that is right or wrong."""
    samples = Samples.of(columns)
    metric = next((metric for metric in task.metrics if isinstance(metric, RightOrWrong)), None)
    if metric is None:
        return {}
    right = metric.values(list(columns.predictions), list(columns.targets))[:, 0]
    found = {}
    for way in samples.places:
        versions, documents, places = samples.whole(way)
        if len(versions) < 2 or not documents:
            continue
        answers = answers_of(task, columns, places, way)
        own = [flips(row) if way in ROBUSTNESS else divergence(row) for row in answers]
        ones = np.ones((len(documents), 1))
        table = np.concatenate(
            [right[places], right[places].min(axis=1, keepdims=True), np.array(own).reshape(-1, 1), ones], axis=1
        )
        name = metric.names[0]
        if way in ROBUSTNESS:
            robust = (mean_name(name), spread_name(name), worst_name(name), all_name(name), FLIPPED)
            found[way] = Beside(documents, table, robust, _robust_figures)
        else:
            fair = (*(f"{name}[{value}]" for value in versions), DIVERGENCE)
            found[way] = Beside(documents, table, fair, _fair_figures)
    return found


def _robust_figures(totals: FloatArray) -> FloatArray:
    """Mean, standard deviation and least over versions, share right in all, flips: from the columns of `Beside`."""
    shares = ratio(totals[..., :-1], totals[..., -1:])
    versions = shares[..., :-2]
    of_versions = [versions.mean(axis=-1), versions.std(axis=-1, ddof=1), versions.min(axis=-1)]
    return np.stack([*of_versions, shares[..., -2], shares[..., -1]], axis=-1)


def _fair_figures(totals: FloatArray) -> FloatArray:
    """Accuracy of each value, and divergence: from the columns of `Beside`."""
    shares = ratio(totals[..., :-1], totals[..., -1:])
    return np.concatenate([shares[..., :-2], shares[..., -1:]], axis=-1)

"""The figures of a task whose documents were drawn several times, beside the mean over draws (`docs/repeats.md`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from mibe.metrics.arrays import FloatArray, IntArray, np
from mibe.metrics.base import BootstrapMedian, Observed, RightOrWrong, is_main
from mibe.metrics.intervals import cluster_numbers
from mibe.metrics.repeats import (
    as_answer,
    as_written,
    figures_by_draw,
    is_changing,
    majority,
    pass_at_k,
    pass_sizes,
    spread,
)
from mibe.metrics.score import Figure, score
from mibe.results.draws import CHANGED, pass_name, spread_name, vote_name
from mibe.task import Category, Metric, Task

VOTED = frozenset(
    {Category.QA, Category.GENERAL, Category.RELATION_EXTRACTION, Category.CLASSIFICATION, Category.NLI}
)  # fmt: skip
"""Tasks whose answers are labels, letters, sets of labels or short texts, of which one can be the majority's."""


@dataclass(frozen=True)
class Draws:
    """Of which document and draw each sample is: two arrays of shape (samples,), sorted by document, then draw.

    Documents are numbered from 0; `count` is the number of draws that each was asked for.
    """

    documents: IntArray
    numbers: IntArray
    count: int

    @classmethod
    def of(cls, ids: Sequence[str], numbers: Sequence[int], count: int) -> Draws:
        """From the sorted samples' ids and numbers of their draws."""
        return cls(cluster_numbers(ids), np.array(numbers, dtype=np.int64), count)

    def by_document(self) -> Iterator[slice]:
        """Where the samples of each document stand."""
        bounds = np.flatnonzero(np.diff(self.documents, prepend=-1, append=-1)).tolist()
        return (slice(start, stop) for start, stop in pairwise(bounds))


def repeats(
    task: Task,
    metrics: Sequence[Metric],
    tables: Sequence[FloatArray],
    predictions: Sequence[Any],
    targets: Sequence[Any],
    draws: Draws,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The part of a task's record about its draws: how many, of how many documents, and the figures they give.

    `tables` are the statistics of `metrics`, row by row those of the samples.
    """
    # The median over resamples differs from its metric by noise alone.
    main = [
        (metric, table)
        for metric, table in zip(metrics, tables, strict=True)
        if all(map(is_main, metric.names)) and not isinstance(metric, BootstrapMedian)
    ]
    places = list(draws.by_document())
    found = _spreads(main, draws, len(places))
    scored = partial(score, resamples=resamples, seed=seed)
    if task.category in VOTED:
        votes = [majority(predictions[place], as_answer) for place in places]
        voted = scored([metric for metric, _ in main], votes, [targets[place.start] for place in places])
        found |= {vote_name(name, draws.count): figure for name, figure in voted.items()}
    for metric, table in main:
        if isinstance(metric, RightOrWrong):
            found |= _passes(metric, table, places, draws.count, scored)
    same = as_written if task.category is Category.DIAGNOSIS else as_answer
    changes = [is_changing(predictions[place], same) for place in places if place.stop - place.start > 1]
    found |= scored([Observed(CHANGED)], changes, changes)
    return {
        "draws": draws.count,
        "documents": len(places),
        "figures": {name: asdict(figure) for name, figure in found.items()},
    }


def _spreads(main: Sequence[tuple[Metric, FloatArray]], draws: Draws, documents: int) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    for metric, table in main:
        by_draw = figures_by_draw(metric.figures, table, draws.numbers)
        if len(by_draw) > 1:
            columns = (column.tolist() for column in spread(by_draw))
            for name, value, low, high, stderr in zip(metric.names, *columns, strict=True):
                found[spread_name(name)] = Figure(value, low, high, stderr, documents)
    return found


def _passes(
    metric: RightOrWrong,
    table: FloatArray,
    places: Sequence[slice],
    count: int,
    scored: Callable[..., dict[str, Figure]],
) -> dict[str, Figure]:
    """pass@k of each figure, over the documents that have k draws: a draw that failed is no wrong one."""
    found: dict[str, Figure] = {}
    for column, name in enumerate(metric.names):
        tallies = [(place.stop - place.start, int(table[place, column].sum())) for place in places]
        for k in pass_sizes(count):
            values = [pass_at_k(drawn, right, k) for drawn, right in tallies if drawn >= k]
            found |= scored([Observed(pass_name(name, k))], values, values)
    return found

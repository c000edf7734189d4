"""The figures of a task whose documents were drawn several times, beside the mean over draws (`docs/repeats.md`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from mibe.metrics.arrays import BoolArray, FloatArray, IntArray, np
from mibe.metrics.base import BootstrapMedian, Observed, RightOrWrong, is_main
from mibe.metrics.intervals import cluster_totals
from mibe.metrics.repeats import (
    figures_by_draw,
    is_changing,
    majority,
    pass_at_k,
    pass_sizes,
    same_answer,
    spread,
)
from mibe.metrics.score import Figure, score
from mibe.results.draws import CHANGED, pass_name, spread_name, vote_name
from mibe.run.columns import Columns
from mibe.task import Category, Metric, Task

VOTED = frozenset(
    {Category.QA, Category.GENERAL, Category.RELATION_EXTRACTION, Category.CLASSIFICATION, Category.NLI}
)  # fmt: skip
"""Tasks whose answers are labels, letters, sets of labels or short texts, of which one can be the majority's."""


def repeats(
    task: Task, metrics: Sequence[Metric], tables: Sequence[FloatArray], columns: Columns, *, resamples: int, seed: int
) -> dict[str, Any]:
    """The part of a task's record about its draws: how many, of how many documents, and the figures they give.

    `tables` are the statistics of `metrics`, row by row those of the samples in `columns`.
    """
    # The median over resamples differs from its metric by noise alone.
    main = [
        (metric, table)
        for metric, table in zip(metrics, tables, strict=True)
        if all(map(is_main, metric.names)) and not isinstance(metric, BootstrapMedian)
    ]
    sizes = np.unique(columns.documents, return_counts=True)[1]
    clusters = columns.document_clusters
    found = _spreads(main, columns.draws, len(sizes))
    scored = partial(score, resamples=resamples, seed=seed)
    if task.category in VOTED:
        votes = [majority(answers, same_answer(task)) for answers in _answers(columns)]
        targets = [columns.targets[place.start] for place in columns.by_document()]
        voted = scored([metric for metric, _ in main], votes, targets, clusters=clusters)
        found |= {vote_name(name, columns.repeats): figure for name, figure in voted.items()}
    for metric, table in main:
        if isinstance(metric, RightOrWrong):
            right = cluster_totals(table, columns.documents)
            for column, name in enumerate(metric.names):
                found |= _passes(name, sizes, right[:, column], clusters, columns.repeats, scored)
    changes = [is_changing(answers, same_answer(task)) for answers in _answers(columns) if len(answers) > 1]
    found |= scored([Observed(CHANGED)], changes, changes, clusters=_of(clusters, sizes > 1))
    return {
        "draws": columns.repeats,
        "documents": len(sizes),
        "figures": {name: asdict(figure) for name, figure in found.items()},
    }


def _answers(columns: Columns) -> Iterator[list[Any]]:
    """The predictions of each document, in the order of its draws."""
    return (columns.predictions[place] for place in columns.by_document())


def _spreads(main: Sequence[tuple[Metric, FloatArray]], draws: IntArray, documents: int) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    for metric, table in main:
        by_draw = figures_by_draw(metric.figures, table, draws)
        if len(by_draw) > 1:
            columns = (column.tolist() for column in spread(by_draw, documents))
            for name, value, low, high, stderr in zip(metric.names, *columns, strict=True):
                found[spread_name(name)] = Figure(value, low, high, stderr, documents)
    return found


def _of(clusters: IntArray | None, kept: BoolArray) -> IntArray | None:
    """The clusters of the documents that are kept."""
    return None if clusters is None else clusters[kept]


def _passes(
    name: str,
    drawn: IntArray,
    right: FloatArray,
    clusters: IntArray | None,
    count: int,
    scored: Callable[..., dict[str, Figure]],
) -> dict[str, Figure]:
    """pass@k of one figure, over the documents that have k draws: a draw that failed is no wrong one."""
    found: dict[str, Figure] = {}
    for k in pass_sizes(count):
        values = [pass_at_k(n, int(c), k) for n, c in zip(drawn.tolist(), right.tolist(), strict=True) if n >= k]
        found |= scored([Observed(pass_name(name, k))], values, values, clusters=_of(clusters, drawn >= k))
    return found

"""Scores: every figure of a task's metrics with its interval, over all samples or in each group of them.

`clusters` is that of `mibe.metrics.intervals`: the number of each sample's cluster, such as its document where a
document was drawn several times, and None where each sample stands for itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mibe.errors import UsageError
from mibe.metrics.arrays import FloatArray, IntArray, np
from mibe.metrics.base import BootstrapMedian, is_mean
from mibe.metrics.counts import EachLabel
from mibe.metrics.intervals import bootstrap, check_resamples, compact, of_means, resampled_totals
from mibe.task import Metric, Value

BLOCK = 4096
"""Samples whose statistics are computed at once."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, its 95 % interval, its standard error and the number of samples.

    The standard error is exact where the figure is a mean over samples and the bootstrap's elsewhere; None for fewer
    than two samples, or clusters of them.
    """

    value: float
    low: float
    high: float
    stderr: float | None
    n: int


def score(
    metrics: Sequence[Metric],
    predictions: Sequence[Value | None],
    targets: Sequence[Value],
    *,
    clusters: IntArray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Figure]:
    """Figure name → figure, in the order of the metrics; nothing where there is no sample.

    Each metric is resampled by itself from the same seed, so adding a metric changes no other figure. Raises
    `UsageError` when two metrics share a figure's name or the lengths differ.
    """
    statistics = sample_statistics(metrics, predictions, targets)
    return score_statistics(metrics, statistics, clusters=clusters, resamples=resamples, seed=seed)


def score_by(
    groups: Sequence[str],
    metrics: Sequence[Metric],
    predictions: Sequence[Value | None],
    targets: Sequence[Value],
    *,
    clusters: IntArray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Figure]]:
    """Group → figures of the samples in it, groups in alphabetical order. `groups` holds each sample's group."""
    if len(groups) != len(targets):
        raise UsageError(f"{len(groups)} group values for {len(targets)} targets")
    statistics = sample_statistics(metrics, predictions, targets)
    of_sample = np.array(groups, dtype=object)
    return {
        group: score_statistics(
            metrics,
            [table[of_sample == group] for table in statistics],
            clusters=None if clusters is None else clusters[of_sample == group],
            resamples=resamples,
            seed=seed,
        )
        for group in sorted(set(groups))
    }


def sample_statistics(
    metrics: Sequence[Metric], predictions: Sequence[Value | None], targets: Sequence[Value]
) -> list[FloatArray]:
    """Each metric's table of shape (samples, statistics): the costly part of scoring, to be had once for many uses.

    A table is made block by block and held as `compact` holds it.
    """
    if len(predictions) != len(targets):
        raise UsageError(f"{len(predictions)} predictions for {len(targets)} targets")
    blocks = [slice(start, start + BLOCK) for start in range(0, max(1, len(targets)), BLOCK)]
    tables: list[list[FloatArray]] = [[] for _ in metrics]
    for block in blocks:
        some, wanted = predictions[block], targets[block]
        for metric, table in zip(metrics, tables, strict=True):
            table.append(compact(metric.statistics(some, wanted)))
    return [np.concatenate(table) for table in tables]


def score_statistics(
    metrics: Sequence[Metric],
    statistics: Sequence[FloatArray],
    *,
    clusters: IntArray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Figure]:
    """Figure name → figure from the tables of `sample_statistics`, or from some of their rows."""
    check_resamples(resamples)
    if repeated := [name for name, times in Counter(n for m in metrics for n in m.names).items() if times > 1]:
        raise UsageError(f"two metrics share the figure name {repeated[0]!r}; give one of them another name")
    figures: dict[str, Figure] = {}
    for metric, table in zip(metrics, statistics, strict=True):
        if len(table):
            figures |= _score_one(metric, table, clusters, resamples, seed)
    return figures


def _score_one(
    metric: Metric, table: FloatArray, clusters: IntArray | None, resamples: int, seed: int
) -> dict[str, Figure]:
    values = metric.figures(table.sum(axis=0, dtype=np.float64))
    if isinstance(metric, BootstrapMedian):
        totals = resampled_totals(table, clusters=clusters, resamples=resamples, seed=seed)
        values = np.median(metric.figures(totals), axis=0)
    # The one place that chooses how a figure's uncertainty is had: by what the figure is.
    interval = (
        of_means(table[:, :-1], clusters=clusters, bounds=metric.bounds)
        if is_mean(metric)
        else bootstrap(table, metric.figures, clusters=clusters, resamples=resamples, seed=seed)
    )
    if isinstance(metric, EachLabel):
        # A label that nobody has is as good as unseen, whatever the number of samples without it.
        unknown = metric.unknown(table.sum(axis=0, dtype=np.float64))
        interval = interval._replace(low=np.where(unknown, 0, interval.low), high=np.where(unknown, 1, interval.high))
    units = len(table) if clusters is None else len(np.unique(clusters))
    return {
        name: Figure(float(value), float(low), float(high), _number(error, units), len(table))
        for name, value, low, high, error in zip(metric.names, values, *interval, strict=True)
    }


def _number(error: float, units: int) -> float | None:
    return float(error) if units > 1 and not np.isnan(error) else None

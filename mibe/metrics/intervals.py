"""Uncertainty of figures: the bootstrap over samples, and the standard error of a mean.

A metric is additive, so a resample of n samples only matters through how often it holds each distinct row of
statistics. Rows that are equal are therefore collapsed first; the result has exactly the same distribution.

Samples that depend on each other, such as several draws of one document, are resampled together: `clusters` holds the
number of each sample's cluster, shape (samples,), and None makes each sample a cluster of its own. The statistics of a
cluster are the sum of its samples', so that one mechanism serves every metric (Davison & Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

from mibe.errors import UsageError
from mibe.metrics.arrays import FloatArray, IntArray, np

CHUNK_CELLS = 2_000_000
"""Counts held at a time, resamples × distinct rows or samples: the working memory stays under 100 MB."""
POSITIONS_PER_ROW = 12
"""Drawing one binomial count of the multinomial takes about as long as drawing and counting this many positions."""


class Interval(NamedTuple):
    """Bootstrap bounds and standard error of each figure, three arrays of shape (figures,)."""

    low: FloatArray
    high: FloatArray
    stderr: FloatArray


def bootstrap(
    statistics: FloatArray,
    figures: Callable[[FloatArray], FloatArray],
    *,
    clusters: IntArray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of every figure, over resamples of the clusters (Efron & Tibshirani 1993, chapter 13).

    `statistics` has shape (samples, statistics) and `figures` maps totals to figures, as in `Metric`. The bounds are
    widened where they would leave out the figure itself, which happens to figures that resampling makes smaller, such
    as a macro average over labels that a resample can lose. Resamples in which a figure is NaN do not count for it.
    Seeded: the same samples in any order give the same bounds.
    """
    value = figures(statistics.sum(axis=0, dtype=np.float64))
    replicates = figures(resampled_totals(statistics, clusters=clusters, resamples=resamples, seed=seed))
    return interval(replicates, value, level)


def interval(replicates: FloatArray, value: FloatArray, level: float) -> Interval:
    """What `bootstrap` returns, from the replicates of shape (resamples, figures) and the figures themselves."""
    low, high, stderr = np.array([_summary(column, level) for column in replicates.T]).T
    # fmin and fmax keep the value where the bound is NaN.
    return Interval(np.fmin(low, value), np.fmax(high, value), stderr)


def resampled_totals(
    statistics: FloatArray, *, clusters: IntArray | None = None, resamples: int, seed: int
) -> FloatArray:
    """Shape (resamples, statistics): column sums of clusters drawn with replacement, as many as there are."""
    if resamples < 1:
        raise UsageError(f"the number of resamples must be at least 1, not {resamples}")
    drawn_from = statistics if clusters is None else cluster_totals(statistics, clusters)
    rows, counts = collapse(drawn_from)
    rng = np.random.default_rng(seed)
    draw = draw_counts if len(rows) * POSITIONS_PER_ROW < len(drawn_from) else draw_positions
    return np.concatenate([drawn @ rows for drawn in draw(counts, resamples, rng)])


def cluster_numbers(names: Sequence[str]) -> IntArray:
    """Shape (samples,): the number of each sample's cluster, from 0, where a cluster is known by a name."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


def shared(clusters: IntArray) -> IntArray | None:
    """The clusters, or None where each has one sample alone."""
    return clusters if len(np.unique(clusters)) < len(clusters) else None


def cluster_totals(statistics: FloatArray, clusters: IntArray) -> FloatArray:
    """Shape (samples, statistics) → (clusters, statistics): the sum of each cluster's rows, by the cluster's number.

    It is held as `compact` holds it. Raises `UsageError` where not every sample has a cluster.
    """
    if len(clusters) != len(statistics):
        raise UsageError(f"{len(clusters)} cluster numbers for {len(statistics)} samples")
    order = np.argsort(clusters, kind="stable")
    starts = np.flatnonzero(np.diff(clusters[order], prepend=-1))
    if not len(starts):
        return statistics
    # Column by column, since a sum may not fit the small type of its terms, and all of them in a large one are many.
    return np.stack(
        [compact(np.add.reduceat(column[order], starts, dtype=np.float64)) for column in statistics.T], axis=1
    )


def compact(table: FloatArray) -> FloatArray:
    """The table in a byte a cell where that holds it exactly, as it does counts of labels; else as it is."""
    with np.errstate(invalid="ignore"):
        small: Any = table.astype(np.int8)
    return cast("FloatArray", small) if np.array_equal(small, table) else table


def collapse(statistics: FloatArray) -> tuple[FloatArray, IntArray]:
    """The distinct rows in a fixed order, shape (rows, statistics), and how often each occurs, shape (rows,)."""
    samples, width = statistics.shape
    # Rows are compared as bytes: for wide rows several times as fast as np.unique(axis=0).
    data = np.ascontiguousarray(statistics).tobytes()
    size = width * statistics.itemsize
    found = Counter(data[i * size : (i + 1) * size] for i in range(samples))
    rows = np.frombuffer(b"".join(found), dtype=statistics.dtype).reshape(-1, width).astype(np.float64)
    # The bytes of floating-point numbers in big-endian order sort as the numbers do: the order, and with it what a seed
    # draws, is the same for counts and for any multiple of them, as where each document was drawn four times.
    ordered = rows.astype(">f8")
    order = sorted(range(len(rows)), key=lambda row: ordered[row].tobytes())
    return rows[order], np.array(list(found.values()), dtype=np.int64)[order]


def draw_counts(counts: IntArray, resamples: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Chunks of shape (resamples, rows): how often each row is drawn, from the multinomial. Best for few rows."""
    samples = int(counts.sum())
    for chunk in _chunks(resamples, len(counts)):
        yield rng.multinomial(samples, counts / samples, size=chunk).astype(np.float64)


def draw_positions(counts: IntArray, resamples: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """The same, by drawing each sample's position. Best for many rows."""
    samples = int(counts.sum())
    row_of_position = np.repeat(np.arange(len(counts)), counts)
    for chunk in _chunks(resamples, samples):
        row = row_of_position[rng.integers(samples, size=(chunk, samples))]
        row += np.arange(chunk)[:, np.newaxis] * len(counts)
        drawn = np.bincount(row.ravel(), minlength=chunk * len(counts))
        yield drawn.reshape(chunk, len(counts)).astype(np.float64)


def standard_errors(values: FloatArray, clusters: IntArray | None = None) -> FloatArray:
    """Standard error of the mean of each column, shape (figures,); NaN for fewer than two clusters.

    Without clusters std(ddof=1) / √n. With G clusters √(G / (G − 1) · Σ r²) / n, where r is the sum of a cluster's
    deviations from the mean: the cluster-robust standard error (Liang & Zeger 1986; Miller 2024, "Adding error bars to
    evals"), which is the same number where each sample is its own cluster.
    """
    units = len(values) if clusters is None else len(np.unique(clusters))
    if units < 2:
        return np.full(values.shape[1], np.nan)
    if clusters is None:
        error: FloatArray = values.std(axis=0, ddof=1) / np.sqrt(units)
        return error
    sizes = np.unique(clusters, return_counts=True)[1]
    sums = cluster_totals(values, clusters) - values.mean(axis=0) * sizes[:, np.newaxis]
    robust: FloatArray = np.sqrt(units / (units - 1) * (sums**2).sum(axis=0)) / len(values)
    return robust


def _chunks(resamples: int, cells: int) -> Iterator[int]:
    """Sizes that sum to `resamples`, each of at most CHUNK_CELLS / cells."""
    size = max(1, CHUNK_CELLS // max(1, cells))
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def _summary(replicates: FloatArray, level: float) -> tuple[float, float, float]:
    """Bounds and standard deviation of one figure over the resamples in which it is a number; NaN if there is none."""
    numbers = replicates[~np.isnan(replicates)]
    if not len(numbers):
        return np.nan, np.nan, np.nan
    low, high = np.quantile(numbers, [(1 - level) / 2, (1 + level) / 2])
    return low, high, numbers.std(ddof=1) if len(numbers) > 1 else np.nan

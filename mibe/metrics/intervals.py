"""Uncertainty of figures: the bootstrap over samples, and the standard error of a mean.

A metric is additive, so a resample of n samples only matters through how often it holds each distinct row of
statistics. Rows that are equal are therefore collapsed first; the result has exactly the same distribution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

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
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of every figure, over resamples of the samples (Efron & Tibshirani 1993, chapter 13).

    `statistics` has shape (samples, statistics) and `figures` maps totals to figures, as in `Metric`. The bounds are
    widened where they would leave out the figure itself, which happens to figures that resampling makes smaller, such
    as a macro average over labels that a resample can lose. Resamples in which a figure is NaN do not count for it.
    Seeded: the same samples in any order give the same bounds.
    """
    value = figures(statistics.sum(axis=0, dtype=np.float64))
    replicates = figures(resampled_totals(statistics, resamples=resamples, seed=seed))
    return interval(replicates, value, level)


def interval(replicates: FloatArray, value: FloatArray, level: float) -> Interval:
    """What `bootstrap` returns, from the replicates of shape (resamples, figures) and the figures themselves."""
    low, high, stderr = np.array([_summary(column, level) for column in replicates.T]).T
    # fmin and fmax keep the value where the bound is NaN.
    return Interval(np.fmin(low, value), np.fmax(high, value), stderr)


def resampled_totals(statistics: FloatArray, *, resamples: int, seed: int) -> FloatArray:
    """Shape (resamples, statistics): column sums of samples drawn with replacement, as many as there are."""
    if resamples < 1:
        raise UsageError(f"the number of resamples must be at least 1, not {resamples}")
    rows, counts = collapse(statistics)
    rng = np.random.default_rng(seed)
    draw = draw_counts if len(rows) * POSITIONS_PER_ROW < len(statistics) else draw_positions
    return np.concatenate([drawn @ rows for drawn in draw(counts, resamples, rng)])


def collapse(statistics: FloatArray) -> tuple[FloatArray, IntArray]:
    """The distinct rows in a fixed order, shape (rows, statistics), and how often each occurs, shape (rows,)."""
    samples, width = statistics.shape
    # Rows are compared as bytes: for wide rows several times as fast as np.unique(axis=0).
    data = np.ascontiguousarray(statistics).tobytes()
    size = width * statistics.itemsize
    found = Counter(data[i * size : (i + 1) * size] for i in range(samples))
    rows = np.frombuffer(b"".join(found), dtype=statistics.dtype).reshape(-1, width).astype(np.float64)
    # The order is that of the rows as floating-point numbers, however small a type they came in.
    order = sorted(range(len(rows)), key=lambda row: rows[row].tobytes())
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


def standard_errors(values: FloatArray) -> FloatArray:
    """Standard error of the mean of each column, std(ddof=1) / √n, shape (figures,); NaN for fewer than two samples."""
    if len(values) < 2:
        return np.full(values.shape[1], np.nan)
    error: FloatArray = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return error


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

"""Uncertainty of figures: standard errors, by formula or by the bootstrap, and the intervals that are made of them.

A figure between 0 and 1 has Wilson's score interval on its effective sample size, which holds at the edges, where
resampling knows no doubt: a resample of 40 right answers is 40 right answers. `docs/statistics.md` says why, and how
often the truth lay inside.

A metric is additive, so a resample of n samples only matters through how often it holds each distinct row of
statistics. Rows that are equal are therefore collapsed first; the result has exactly the same distribution.

Samples that depend on each other, such as several draws of one document, are resampled together: `clusters` holds the
number of each sample's cluster, shape (samples,), and None makes each sample a cluster of its own. The statistics of a
cluster are the sum of its samples', so that one mechanism serves every metric (Davison & Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple, cast

from mibe.errors import UsageError
from mibe.metrics.arrays import FloatArray, IntArray, np

CHUNK_CELLS = 2_000_000
"""Counts held at a time, resamples × distinct rows or samples: the working memory stays under 100 MB."""
POSITIONS_PER_ROW = 12
"""Drawing one binomial count of the multinomial takes about as long as drawing and counting this many positions."""


EDGE = 1e-9
"""How far beyond its bounds rounding may take a figure."""
TINY = 1e-300
"""Keeps a quotient of nothing by nothing at nothing."""
PRIOR_EVENTS = 0.5
"""How many wrong answers outweigh the doubt that clusters are right or wrong as a whole; see `_effective_size`."""
STEP = 1e-5
"""Step of numerical derivatives, in parts of a total."""


class Interval(NamedTuple):
    """Bounds and standard error of each figure, three arrays of shape (figures,)."""

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
    """Interval of every figure, its standard error from resamples of the clusters (Efron & Tibshirani 1993).

    `statistics` has shape (samples, statistics) and `figures` maps totals to figures, as in `Metric`. A figure that is
    from 0 to 1 in every resample has Wilson's interval on its effective sample size; another the percentiles,
    widened where they would leave out the figure itself. Resamples in which a figure is NaN do not count for it.
    Seeded: the same samples in any order give the same bounds.
    """
    rows, counts = collapse(units(statistics, clusters))
    value = figures(counts @ rows)
    replicates = figures(_resampled(rows, counts, resamples, seed))
    low, high, stderr = np.array([_summary(column, level) for column in replicates.T]).T
    inside = ~((replicates < -EDGE) | (replicates > 1 + EDGE)).any(axis=0)
    found = _scored(rows, counts, figures, value, stderr, level)
    # fmin and fmax keep the value where the bound is NaN.
    return Interval(
        np.where(inside, found[0], np.fmin(low, value)), np.where(inside, found[1], np.fmax(high, value)), stderr
    )


def of_means(
    values: FloatArray,
    *,
    clusters: IntArray | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    level: float = 0.95,
) -> Interval:
    """Interval of the mean of each column, shape (samples, figures), its standard error by formula.

    Of independent samples that are right or wrong, or clusters of one size that are so as a whole, Wilson's interval
    (Wilson 1927); of other values within `bounds` the same on the effective sample size, with the bounds as 0 and 1; of
    values beyond, Student's. A single cluster of these tells no spread, so that its interval is as wide as the mean of
    a normal distribution can be from one draw of it, whatever the variance: |x| · 2 φ(1) / (1 − level) on either side
    (Wall, Boen & Tweedie 2001, "An effective confidence interval for the mean with samples of size one and two").
    """
    if bounds != (0.0, 1.0):
        least, width = bounds[0], bounds[1] - bounds[0]
        scaled = of_means((values - least) / width, clusters=clusters, level=level)
        return Interval(least + width * scaled.low, least + width * scaled.high, width * scaled.stderr)
    stderr = standard_errors(values, clusters)
    table = np.concatenate([values, np.ones((len(values), 1), dtype=values.dtype)], axis=1)
    rows, counts = collapse(units(table, clusters))
    totals = counts @ rows
    value = totals[:-1] / totals[-1]

    def means(sums: FloatArray) -> FloatArray:
        found: FloatArray = sums[..., :-1] / sums[..., -1:]
        return found

    low, high = _scored(rows, counts, means, value, stderr, level)
    size = rows[:, -1:]
    inside = ((rows[:, :-1] >= -EDGE * size) & (rows[:, :-1] <= (1 + EDGE) * size)).all(axis=0)
    if (size == size[0]).all():
        # A document that is drawn often and always right is as one that is right once.
        proportion = np.isin(rows[:, :-1], (0, size[0, 0])).all(axis=0)
        exact = wilson(value, float(counts.sum()), NormalDist().inv_cdf((1 + level) / 2))
        low, high = np.where(proportion, exact[0], low), np.where(proportion, exact[1], high)
    single = 2 * NormalDist().pdf(1) / (1 - level) * np.abs(value)
    half = np.where(np.isnan(stderr), single, student(level, counts.sum() - 1) * stderr)
    return Interval(np.where(inside, low, value - half), np.where(inside, high, value + half), stderr)


def wilson(value: FloatArray, size: FloatArray | float, quantile: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """Bounds of a proportion of `size` samples: the proportions that `value` does not speak against (Wilson 1927)."""
    weight = quantile**2 / size
    half = np.sqrt(np.maximum(weight * value * (1 - value) + weight**2 / 4, 0)) / (1 + weight)
    middle = (value + weight / 2) / (1 + weight)
    # Rounding may neither leave the figure out nor go beyond what a proportion can be.
    return np.clip(middle - half, 0, value), np.clip(middle + half, value, 1)


def student(level: float, freedom: int) -> float:
    """Standard errors on either side of an interval of Student's distribution; one degree of freedom at least."""
    from scipy.special import stdtrit

    return float(stdtrit(max(1, freedom), (1 + level) / 2))


def _scored(
    rows: FloatArray,
    counts: IntArray,
    figures: Callable[[FloatArray], FloatArray],
    value: FloatArray,
    stderr: FloatArray,
    level: float,
) -> tuple[FloatArray, FloatArray]:
    """Wilson's bounds on the effective sample size, with Student's quantile for the number of clusters."""
    share = np.clip(value, 0, 1)
    size = _effective_size(rows, counts, figures, share, np.nan_to_num(stderr))
    return wilson(share, size, student(level, int(counts.sum()) - 1))


def _effective_size(
    rows: FloatArray,
    counts: IntArray,
    figures: Callable[[FloatArray], FloatArray],
    share: FloatArray,
    stderr: FloatArray,
) -> FloatArray:
    """Of how many independent samples a proportion would be known as well as each figure is, shape (figures,).

    A proportion of n samples has the variance p (1 − p) / n, so the size is p (1 − p) / stderr² (Kish 1965, section
    8.2; Korn & Graubard 1998; Dean & Pagano 2015). Near an edge few clusters tell what stderr is, and at it none: all
    right says nothing of whether wrong answers would come together. There stands what is the least, that clusters are
    right or wrong as a whole: Kish's (Σ w)² / Σ w², w the part of a figure that rests upon a cluster. The two variances
    are weighted by the number of clusters that the first is known by, (Σ u²)² / Σ u⁴ for their influences u, and by
    `PRIOR_EVENTS`.
    """
    totals = counts @ rows
    slopes = _slopes(figures, totals)
    weights = np.abs(rows) @ np.abs(slopes)
    empty = counts @ weights <= 0
    weights[:, empty] = np.abs(rows).sum(axis=1, keepdims=True)
    least = np.maximum(1.0, (counts @ weights) ** 2 / np.maximum(counts @ weights**2, TINY))
    influences = rows @ slopes
    influences -= counts @ influences / counts.sum()
    # What is no more than the rounding of the slopes says nothing.
    influences[np.abs(influences) < 1e-6 * weights.max(axis=0)] = 0
    events = (counts @ influences**2) ** 2 / np.maximum(counts @ influences**4, TINY)
    variance = share * (1 - share)
    known = np.where((variance > 0) & (stderr > 0), events, 0)
    found = np.divide(stderr**2, variance, out=np.zeros_like(variance), where=known > 0)
    size: FloatArray = (known + PRIOR_EVENTS) / (known * found + PRIOR_EVENTS / least)
    return size


def _slopes(figures: Callable[[FloatArray], FloatArray], totals: FloatArray) -> FloatArray:
    """Shape (statistics, figures): the derivatives of the figures at the totals, 0 where there is none."""
    steps = STEP * np.maximum(np.abs(totals), 1)
    moves = np.diag(steps)
    slopes = (figures(totals + moves) - figures(totals - moves)) / (2 * steps[:, np.newaxis])
    # A statistic that no sample has moves nothing, also where it would make another figure of it.
    slopes[totals == 0] = 0
    return np.nan_to_num(slopes)


def resampled_totals(
    statistics: FloatArray, *, clusters: IntArray | None = None, resamples: int, seed: int
) -> FloatArray:
    """Shape (resamples, statistics): column sums of clusters drawn with replacement, as many as there are."""
    return _resampled(*collapse(units(statistics, clusters)), resamples, seed)


def check_resamples(resamples: int) -> None:
    """Raise `UsageError` where there is to be none."""
    if resamples < 1:
        raise UsageError(f"the number of resamples must be at least 1, not {resamples}")


def units(statistics: FloatArray, clusters: IntArray | None) -> FloatArray:
    """Shape (clusters, statistics): the sums of each cluster, or the samples themselves where they are independent."""
    return statistics if clusters is None else cluster_totals(statistics, clusters)


def _resampled(rows: FloatArray, counts: IntArray, resamples: int, seed: int) -> FloatArray:
    check_resamples(resamples)
    rng = np.random.default_rng(seed)
    draw = draw_counts if len(rows) * POSITIONS_PER_ROW < counts.sum() else draw_positions
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
        # The mean of equal values may differ from them by rounding.
        return np.where(np.ptp(values, axis=0) == 0, 0.0, error)
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

"""Two runs on the same samples: a difference with its interval and p, both by random halves; Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

from mibe.errors import UsageError
from mibe.metrics.arrays import FloatArray, IntArray, np
from mibe.metrics.intervals import CHUNK_CELLS, EDGE, check_resamples, collapse, units

ROUNDING = 1e-12
"""Differences up to this size are rounding in the sums: two equal runs must not differ by it in every resample."""


class Difference(NamedTuple):
    """Figures of run A minus those of run B, their interval and two-sided p; four arrays of shape (figures,)."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    p: FloatArray


class Halves(NamedTuple):
    """The differences of both sides of random splits, from which a comparison is read (`of_halves`).

    `value` is the difference of all samples, shape (figures,), `sides` those of the sides, shape (2, splits, figures).
    `margin`, shape (figures,), is how far the difference may be from one in which all clusters are alike, 0 where
    nothing bounds the figure; `limit` is the largest difference that there can be.
    """

    value: FloatArray
    sides: FloatArray
    margin: FloatArray
    limit: FloatArray

    def of_figure(self, number: int) -> Halves:
        """Those of one figure alone."""
        one = slice(number, number + 1)
        return Halves(self.value[one], self.sides[..., one], self.margin[one], self.limit[one])


def random_halves(
    statistics_a: FloatArray,
    statistics_b: FloatArray,
    figures: Callable[[FloatArray], FloatArray],
    *,
    clusters: IntArray | None = None,
    resamples: int = 1000,
    seed: int | Sequence[int] = 0,
    level: float = 0.95,
) -> Difference:
    """Difference of every figure between two runs, its interval and p from the same random halves of the clusters.

    Row i of both tables must be the same sample; `clusters` is that of `mibe.metrics.intervals`. A coin is tossed for
    each cluster, and the difference is taken of both sides. A value lies between the two as often as a difference of
    that size would come out by chance (Hartigan 1969, "Using subsample values as typical values"), so p is the share of
    the splits that have 0 between them, and the interval holds the values that at least 1 − `level` of them have. Of
    means this is the permutation test that swaps the runs' answers in each cluster at random (Fisher 1935, section 21),
    where samples are right or wrong McNemar's by drawing lots. Splits at whose edge 0 lies count half, as in McNemar's
    mid-p test (Fagerland, Lydersen & Laake 2013); all of them where the runs do not differ.

    p is below 1 − `level` if and only if the interval leaves 0 out. Where 0 is its open end, the bound is `ROUNDING`.
    Where all clusters differ alike, the interval of a figure between 0 and 1 reaches as far from the difference as the
    clusters that do otherwise may be many (Wilson's bound of 0 of them).
    """
    halves = split_differences(
        statistics_a, statistics_b, figures, clusters=clusters, resamples=resamples, seed=seed, level=level
    )
    return of_halves(halves, level=level)


def split_differences(
    statistics_a: FloatArray,
    statistics_b: FloatArray,
    figures: Callable[[FloatArray], FloatArray],
    *,
    clusters: IntArray | None = None,
    resamples: int = 1000,
    seed: int | Sequence[int] = 0,
    level: float = 0.95,
    span: float = 1.0,
) -> Halves:
    """The random halves behind `random_halves`, for figures from 0 to `span`.

    Comparisons that are to be independent, as of other tasks, need seeds of their own.
    """
    if statistics_a.shape != statistics_b.shape:
        raise UsageError(
            f"the runs differ in shape, {statistics_a.shape} and {statistics_b.shape}; compare common samples"
        )
    check_resamples(resamples)
    order = _order(statistics_a, statistics_b, clusters)
    if order < 0:
        # The runs in one order, whichever is called A: the same lots are drawn for both.
        turned = split_differences(
            statistics_b,
            statistics_a,
            figures,
            clusters=clusters,
            resamples=resamples,
            seed=seed,
            level=level,
            span=span,
        )
        return turned._replace(value=-turned.value, sides=-turned.sides)
    rows, counts = collapse(units(np.concatenate([statistics_a, statistics_b], axis=1), clusters))
    totals, width = counts @ rows, statistics_a.shape[1]

    def differences(sums: FloatArray) -> FloatArray:
        return figures(sums[..., :width]) - figures(sums[..., width:])

    kept = np.concatenate([kept @ rows for kept in _tossed(counts, resamples, np.random.default_rng(seed))])
    sides = np.stack([differences(kept), differences(totals - kept)])
    if not order:
        # Nothing tells the runs from each other: with each split stands the one that has them the other way round.
        half = sides[:, : resamples // 2]
        sides = np.concatenate([half, -half, np.zeros_like(sides[:, : resamples % 2])], axis=1)
    ends = np.stack([figures(totals[:width]), figures(totals[width:])])
    bounded = ((ends >= -EDGE) & (ends <= span + EDGE)).all(axis=0)
    square = NormalDist().inv_cdf((1 + level) / 2) ** 2
    margin = np.where(bounded, span * square / (counts.sum() + square), 0.0)
    return Halves(differences(totals), sides, margin, np.where(bounded, span, np.inf))


def mean_of_halves(parts: Sequence[Halves]) -> Halves:
    """Halves of the mean of independent differences with as many splits each: split by split the mean of theirs."""
    return Halves(
        np.mean([part.value for part in parts], axis=0),
        np.mean([part.sides for part in parts], axis=0),
        np.sqrt(np.sum([part.margin**2 for part in parts], axis=0)) / len(parts),
        np.mean([part.limit for part in parts], axis=0),
    )


def normal_halves(value: float, error: float, *, resamples: int, seed: int | Sequence[int]) -> Halves:
    """Halves of a difference of which no more is known than its standard error."""
    noise = error * np.random.default_rng(seed).standard_normal((resamples, 1))
    return Halves(np.array([value]), value + np.stack([noise, -noise]), np.zeros(1), np.full(1, np.inf))


def of_halves(halves: Halves, *, level: float = 0.95) -> Difference:
    """Difference, interval and p of each figure, as `random_halves` says."""
    value, resamples = halves.value, halves.sides.shape[1]
    all_three = np.concatenate([halves.sides, np.broadcast_to(value, (1, resamples, len(value)))])
    low, high = np.fmin.reduce(all_three), np.fmax.reduce(all_three)
    across = ((low < -ROUNDING) & (high > ROUNDING)).sum(axis=0)
    touching = ((low <= ROUNDING) & (high >= -ROUNDING)).sum(axis=0) - across
    # The split that leaves all on one side is one of them: p is never 0.
    p = np.where(np.abs(value) > ROUNDING, (1 + across + touching / 2) / (1 + resamples), 1.0)
    place = min(max(math.ceil((1 - level) * (1 + resamples) - ROUNDING) - 1, 1), resamples) - 1
    least, most = np.sort(low, axis=0)[place], np.sort(high, axis=0)[resamples - 1 - place]
    alike = most - least <= ROUNDING
    least = np.where(alike, np.maximum(value - halves.margin, -halves.limit), least)
    most = np.where(alike, np.minimum(value + halves.margin, halves.limit), most)
    # 1 − 0.95 is a little more than 0.05, which p may be.
    found = p < 1 - level - ROUNDING
    least = np.where(found, np.where(value > 0, np.maximum(least, ROUNDING), least), np.minimum(least, 0))
    most = np.where(found, np.where(value < 0, np.minimum(most, -ROUNDING), most), np.maximum(most, 0))
    return Difference(value, least, most, p)


def _order(first: FloatArray, second: FloatArray, clusters: IntArray | None) -> int:
    """1, −1 or 0: which of two runs comes first by the samples they have, in whatever order; 0 where they are alike."""
    sums = tuple(first.sum(axis=0)), tuple(second.sum(axis=0))
    if sums[0] != sums[1]:
        return 1 if sums[0] > sums[1] else -1
    one, other = (
        [part.tolist() for part in collapse(units(np.concatenate(pair, axis=1), clusters))]
        for pair in ((first, second), (second, first))
    )
    return (one > other) - (one < other)


def _tossed(counts: IntArray, resamples: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Chunks of shape (resamples, rows): how many of each row's clusters a coin puts on one side."""
    size = max(1, CHUNK_CELLS // len(counts))
    single = counts == 1
    for start in range(0, resamples, size):
        shape = (min(size, resamples - start), len(counts))
        kept = np.empty(shape)
        # One cluster's toss is a bit, many times as quick to draw as a binomial count.
        kept[:, single] = rng.integers(2, size=(shape[0], int(single.sum())), dtype=np.int8)
        kept[:, ~single] = rng.binomial(counts[~single], 0.5, size=(shape[0], int((~single).sum())))
        yield kept


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for having asked several questions (Holm 1979), in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    adjusted_list: list[float] = adjusted.tolist()
    return adjusted_list

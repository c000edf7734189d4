"""Two runs on the same samples: the paired bootstrap of a difference, McNemar's exact test and what takes its place
where samples come in clusters, Holm's correction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mibe.errors import UsageError
from mibe.metrics.arrays import FloatArray, IntArray, np
from mibe.metrics.intervals import cluster_totals, interval, resampled_totals

ROUNDING = 1e-12
"""Differences up to this size are rounding in the sums: two equal runs must not differ by it in every resample."""


class Difference(NamedTuple):
    """Figures of run A minus those of run B, their interval and two-sided p; four arrays of shape (figures,)."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    p: FloatArray


def paired_bootstrap(
    statistics_a: FloatArray,
    statistics_b: FloatArray,
    figures: Callable[[FloatArray], FloatArray],
    *,
    clusters: IntArray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Difference of every figure between two runs, the same clusters drawn for both in each resample.

    Row i of both tables must be the same sample; `clusters` is that of `mibe.metrics.intervals`. p is twice the smaller
    share of resamples whose difference lies on or beyond zero, one resample added to both sides so that it is never 0
    (Davison & Hinkley 1997, section 4.2).
    """
    if statistics_a.shape != statistics_b.shape:
        raise UsageError(
            f"the runs differ in shape, {statistics_a.shape} and {statistics_b.shape}; compare common samples"
        )
    width = statistics_a.shape[1]
    pairs = np.concatenate([statistics_a, statistics_b], axis=1)

    def differences(totals: FloatArray) -> FloatArray:
        return figures(totals[..., :width]) - figures(totals[..., width:])

    value = differences(pairs.sum(axis=0))
    replicates = differences(resampled_totals(pairs, clusters=clusters, resamples=resamples, seed=seed))
    low, high, _ = interval(replicates, value, level)
    # A difference that is no number speaks for neither run; negation counts it on both sides.
    beyond = np.minimum((~(replicates > ROUNDING)).sum(axis=0), (~(replicates < -ROUNDING)).sum(axis=0))
    return Difference(value, low, high, np.minimum(1.0, 2 * (1 + beyond) / (1 + resamples)))


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p of McNemar's exact test: samples that A alone has right against those that B alone has right.

    Under the null hypothesis either is binomial with probability ½ of their sum.
    """
    discordant = only_a + only_b
    # Whole numbers until the last step: the terms overflow a float from about 1,000 samples on.
    term, tail = 1, 0
    for k in range(min(only_a, only_b) + 1):
        tail += term
        term = term * (discordant - k) // (k + 1)
    return min(1.0, tail / (1 << (discordant - 1))) if discordant else 1.0


def sign_flip(
    differences: FloatArray, *, clusters: IntArray | None = None, resamples: int = 1000, seed: int = 0
) -> float:
    """Two-sided p of the paired permutation test of a mean difference, shape (samples,), that clusters keep together.

    Under the null hypothesis it is a toss which of the two runs a cluster's answers are of, so that its sum has either
    sign (Fisher 1935, section 21; Good 2005, chapter 3). p is the share of the tosses whose sum is as far from zero as
    the one found, that one counted among them. Where every sample is its own cluster and right or wrong, this is
    McNemar's test, by drawing lots in place of counting.
    """
    column = differences.reshape(-1, 1)
    sums = (column if clusters is None else cluster_totals(column, clusters))[:, 0].astype(np.float64)
    # Clusters whose sums are as large draw their signs together: how many of them are positive is binomial.
    sizes, counts = np.unique(np.abs(sums), return_counts=True)
    positive = np.random.default_rng(seed).binomial(counts, 0.5, size=(resamples, len(counts)))
    tossed = np.abs((2 * positive - counts) @ sizes)
    return float((1 + (tossed >= abs(sums.sum()) - ROUNDING).sum()) / (1 + resamples))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for having asked several questions (Holm 1979), in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    adjusted_list: list[float] = adjusted.tolist()
    return adjusted_list

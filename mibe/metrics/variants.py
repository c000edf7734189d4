"""What versions of a document tell beside their mean: spread, flips, a leaning to a letter, divergence of pairs
(`docs/robustness.md`, `docs/fairness.md`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from itertools import combinations
from typing import NamedTuple

from mibe.metrics.arrays import BoolArray, FloatArray, IntArray, np
from mibe.metrics.intervals import resampled_totals
from mibe.metrics.repeats import widest

CONVERGED = 1e-6
"""How near to its bound a noncentrality is looked for, in parts of it."""


class SpreadOverVersions(NamedTuple):
    """Standard deviation over versions, its bounds and standard error, and p of no version differing from another."""

    value: float
    low: float
    high: float
    stderr: float
    p: float


def spread_over_versions(
    figures: FloatArray, covariance: FloatArray, clusters: int, *, level: float = 0.95
) -> SpreadOverVersions:
    """Standard deviation of a figure over K versions, divisor K − 1; `figures` has shape (K,), `covariance` (K, K).

    The versions are given, the documents are drawn: `covariance` is that of the figures by the drawing of documents, of
    so many `clusters`. That all of them differ alike does not say that others would: one that does otherwise in each
    version counts beside them.

    What the documents alone make the figures differ by, v = tr(P Σ P) / (K − 1) with P the deviations from the mean,
    is in the standard deviation s as well. s² / v follows a noncentral F, degrees of freedom K − 1 and clusters − 1,
    whose noncentrality is (K − 1) σ² / v with the standard deviation σ that unlimited documents would show, where the
    versions' figures covary alike, and nearly elsewhere, with Satterthwaite's degrees of freedom (Satterthwaite 1946;
    Box 1954, "Some theorems on quadratic forms"). The interval holds the σ that s does not speak against, widened to
    hold s. That s is by chance less than noise alone would make it tells nothing, so the upper bound is never below
    that of s² = v (as power-constrained limits, Cowan et al. 2011), nor is it above what figures from 0 to 1 can vary
    at most, half of them 0 and half 1. p is that of σ = 0, where samples are right or wrong and many Cochran's (Cochran
    1950).
    """
    versions = len(figures)
    value = float(figures.std(ddof=1))
    centre = np.eye(versions) - 1 / versions
    spread = centre @ (covariance + np.eye(versions) / clusters**2) @ centre
    total = float(np.trace(spread))
    # A multiple c of χ² with `freedom` degrees has the mean and the variance that the squares have.
    scale = float(np.sum(spread**2)) / total
    freedom = total / scale
    ratio, rest = (versions - 1) * value**2 / total, max(1, clusters - 1)
    low, high = (
        math.sqrt(noncentrality(value_of_bound, freedom, rest, p) * scale / (versions - 1))
        for value_of_bound, p in ((ratio, (1 + level) / 2), (max(ratio, 1.0), (1 - level) / 2))
    )
    slopes = centre @ figures / ((versions - 1) * value) if value > CONVERGED else np.zeros(versions)
    stderr = math.sqrt(max(0.0, float(slopes @ covariance @ slopes)))
    high = min(high, float(widest(figures)))
    return SpreadOverVersions(value, min(low, value), max(high, value), stderr, _upper_tail(ratio, freedom, rest))


def noncentrality(value: float, freedom: float, rest: float, p: float) -> float:
    """The noncentrality at which F with `freedom` and `rest` degrees is below `value` with probability `p`.

    0 where it is less probable even at 0.
    """
    from scipy.special import ncfdtr

    low, high = 0.0, 1.0 + freedom * value
    if ncfdtr(freedom, rest, low, value) <= p:
        return 0.0
    while ncfdtr(freedom, rest, high, value) > p:
        low, high = high, 2 * high
    while high - low > CONVERGED * high:
        middle = (low + high) / 2
        low, high = (middle, high) if ncfdtr(freedom, rest, middle, value) > p else (low, middle)
    return (low + high) / 2


def _upper_tail(value: float, freedom: float, rest: float) -> float:
    from scipy.special import fdtrc

    return float(fdtrc(freedom, rest, value))


def covariance_of(
    tables: Sequence[FloatArray],
    figures: Callable[[FloatArray], FloatArray],
    *,
    clusters: IntArray | None,
    resamples: int,
    seed: int,
) -> FloatArray:
    """Shape (figures, K, K): how the figures of K versions covary when documents are drawn, by the bootstrap.

    `tables` holds a metric's statistics of each version, documents in the same rows.
    """
    width = tables[0].shape[1]
    totals = resampled_totals(np.concatenate(tables, axis=1), clusters=clusters, resamples=resamples, seed=seed)
    found = np.stack([figures(totals[:, at * width : (at + 1) * width]) for at in range(len(tables))], axis=1)
    deviations = found - found.mean(axis=0)
    covariances: FloatArray = np.einsum("rkf,rlf->fkl", deviations, deviations) / max(1, len(found) - 1)
    return covariances


def flips(answers: Sequence[Hashable]) -> float:
    """Share of the versions after the first whose answer is another than the first one's."""
    first, *others = answers
    return sum(answer != first for answer in others) / len(others)


def divergence(answers: Sequence[Hashable]) -> float:
    """Share of the pairs of versions whose answers differ."""
    pairs = list(combinations(answers, 2))
    return sum(one != other for one, other in pairs) / len(pairs)


def letter_p(options: IntArray, places: IntArray, *, resamples: int, seed: int) -> float:
    """p of every option being chosen whatever its letter.

    `options`, shape (documents, orders), is the option that was chosen in each order, −1 where none was read; `places`,
    shape (documents, orders, options), is where each option stands in each order. Were a letter no reason, a document's
    answers would be as likely given to its orders in any other way, so they are dealt anew to the orders of each
    document (a permutation test: exact, and it asks nothing of how documents or answers depend on each other). The
    statistic is the sum of squares by which letters are chosen more or less often than when every option is chosen
    alike in all orders.
    """
    answered = options >= 0
    chosen = np.where(answered, options, 0)
    documents, orders = np.indices(options.shape)

    def counted(dealt: IntArray, is_read: BoolArray) -> FloatArray:
        letters = places[documents, orders, dealt]
        return np.bincount(letters[is_read], minlength=places.shape[2]).astype(np.float64)

    # What each document's answers would give on average over all ways to deal them.
    expected = np.zeros(places.shape[2])
    for shift in range(options.shape[1]):
        expected += counted(np.roll(chosen, shift, axis=1), np.roll(answered, shift, axis=1))
    expected /= options.shape[1]
    observed = float(((counted(chosen, answered) - expected) ** 2).sum())
    dice = np.random.default_rng(seed)
    reached = 0
    for _ in range(resamples):
        dealt = dice.random(options.shape).argsort(axis=1)
        counts = counted(chosen[documents, dealt], answered[documents, dealt])
        reached += float(((counts - expected) ** 2).sum()) >= observed - CONVERGED
    return (1 + reached) / (1 + resamples)

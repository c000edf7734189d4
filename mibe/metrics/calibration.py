"""How probable an answer was, and whether that says how often it is right: figures of answers chosen by likelihood.

They are made of what the sample log holds of each sample: the `confidence`, which is the probability of the answer
among all answers, and the `accuracy`, 1 where it is right. An array of `values` has both as its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mibe.metrics.arrays import FloatArray, IntArray, np
from mibe.metrics.base import Observed, RightOrWrong, SingleFigure, Stored, ratio
from mibe.metrics.intervals import resampled_totals, units, wilson
from mibe.metrics.score import Figure, score_statistics
from mibe.task import Value

BINS = 10
"""Bins of a reliability curve and of the calibration errors (Naeini et al. 2015; Guo et al. 2017)."""

READS = ("confidence", "accuracy")
"""The scores of a sample that the figures are made of, in the order of the columns of `values`."""


def equal_width(confidence: FloatArray) -> FloatArray:
    """The edges of bins of one width from 0 to 1, shape (BINS + 1,), whatever the confidences."""
    return np.linspace(0, 1, BINS + 1)


def equal_mass(confidence: FloatArray) -> FloatArray:
    """The edges of bins with as many samples each, shape (BINS + 1,): quantiles of the confidences."""
    quantiles: FloatArray = np.percentile(confidence, 100 * np.linspace(0, 1, BINS + 1))
    return quantiles


def bin_numbers(confidence: FloatArray, edges: FloatArray) -> IntArray:
    """The bin of each sample, shape (samples,), from 0. A confidence that is an edge lies in the bin below it."""
    return np.searchsorted(edges[1:-1], confidence, side="left")


class OfConfidence(SingleFigure):
    """A figure of how confidence and correctness go together; its `statistics` take `values` as predictions."""

    reads = READS

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value] = ()) -> FloatArray:
        """The statistics of samples whose confidence and correctness stand where others have predictions."""
        return self.table(np.array(predictions, dtype=np.float64).reshape(-1, len(READS)))

    def table(self, values: FloatArray) -> FloatArray:
        """Shape (samples, 2) → (samples, statistics)."""
        raise NotImplementedError


@dataclass(frozen=True)
class CalibrationError(OfConfidence):
    """Expected calibration error: mean distance of accuracy and mean confidence over bins, weighted by their samples.

    Σ over bins of |Σ (accuracy − confidence)| / samples (Naeini et al. 2015), so that the statistics are additive. The
    `edges` are found once, in all samples, and stand in every resample. Its bounds are those of `error_bounds`, for
    which the statistics also count the samples of each bin and those of them that are right.
    """

    name: str
    edges: Callable[[FloatArray], FloatArray]

    def table(self, values: FloatArray) -> FloatArray:
        """Shape (samples, 2) → (samples, 3 · BINS): accuracy − confidence in the sample's bin, whether it is right, and
        a one, each in the columns of the bins."""
        confidence, right = values.T
        statistics = np.zeros((len(values), 3 * BINS))
        if len(values):
            samples, numbers = np.arange(len(values)), bin_numbers(confidence, self.edges(confidence))
            for part, added in enumerate((right - confidence, right, 1)):
                statistics[samples, part * BINS + numbers] = added
        return statistics

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., 3 · BINS) → (..., 1)."""
        gaps, _, sizes = np.split(totals, 3, axis=-1)
        return ratio(np.abs(gaps).sum(axis=-1, keepdims=True), sizes.sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class AccuracyAtCoverage(OfConfidence):
    """Accuracy over the `percent` of the samples whose answers are the most confident (El-Yaniv & Wiener 2010).

    Samples of equal confidence at the border share what room is left, which is the mean over all ways to draw the
    border between them. The border is found once, in all samples, and stands in every resample.
    """

    name: str = "accuracy_at_80"
    percent: int = 80

    def table(self, values: FloatArray) -> FloatArray:
        """Shape (samples, 2) → (samples, 2): accuracy times weight, and the weight: 1 for a sample that counts."""
        confidence, right = values.T
        kept = -(-len(values) * self.percent // 100)
        if not kept:
            return np.zeros((len(values), 2))
        border = np.sort(confidence)[-kept]
        above, at = confidence > border, confidence == border
        weight = above + at * ((kept - above.sum()) / at.sum())
        return np.stack([right * weight, weight], axis=1)

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., 2) → (..., 1)."""
        return ratio(totals[..., :1], totals[..., 1:])


class TextAccuracy(Observed, RightOrWrong):
    """The share of questions whose right option has the likeliest text: as a whole (acc), per character (acc_norm)."""


class Confidence(Observed):
    """The mean probability of the answer among all answers, which of a calibrated model is the accuracy."""


class Brier(Observed):
    """Sum over the answers of the squared distance of probability and truth (Brier 1950): 0 to 2, less is better."""

    bounds = (0.0, 2.0)


OF_LIKELIHOOD: tuple[Stored, ...] = (
    TextAccuracy("acc"),
    TextAccuracy("acc_norm"),
    Confidence("confidence"),
    Brier("brier"),
    CalibrationError("ece", equal_width),
    CalibrationError("ece_adaptive", equal_mass),
    AccuracyAtCoverage(),
)
"""What samples answered by likelihood have beside their task's own figures (`docs/likelihood.md`)."""


def of_likelihood(scores: Sequence[Mapping[str, float] | None]) -> tuple[Stored, ...]:
    """Those of `OF_LIKELIHOOD` that every sample has what it takes for, by what the log holds as its scores."""
    common = set.intersection(*(set(own or ()) for own in scores)) if scores else set()
    return tuple(metric for metric in OF_LIKELIHOOD if common.issuperset(metric.reads))


def score_likelihoods(
    metrics: Sequence[Stored],
    tables: Sequence[FloatArray],
    *,
    clusters: IntArray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Figure]:
    """What `score_statistics` returns, calibration errors with bounds of their own (`error_bounds`)."""
    found = score_statistics(metrics, tables, clusters=clusters, resamples=resamples, seed=seed)
    for metric, table in zip(metrics, tables, strict=True):
        if isinstance(metric, CalibrationError) and metric.name in found:
            low, high = error_bounds(table, clusters=clusters, resamples=resamples, seed=seed)
            found[metric.name] = replace(found[metric.name], low=low, high=high)
    return found


def error_bounds(
    statistics: FloatArray, *, clusters: IntArray | None, resamples: int, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Bounds of a calibration error, from the statistics of `CalibrationError`, shape (samples, 3 · BINS).

    A mean of distances is larger than the truth by the noise of its bins, and its resamples larger still, so that their
    quantiles would leave out a calibrated model's 0. Noise moves the error by no more than the sum of what it moves the
    bins' gaps by (the triangle inequality): that sum's `level` quantile is taken on both sides. What noise moves is
    shown by resampling or, where a bin is right or wrong throughout and no resample says so, by Wilson's bounds of its
    accuracy, each at a level drawn at random; the larger of the two quantiles counts.
    """
    totals = statistics.sum(axis=0)
    gaps, right, sizes = np.split(totals, 3)
    count = sizes.sum()
    drawn, _, drawn_sizes = np.split(
        resampled_totals(statistics, clusters=clusters, resamples=resamples, seed=seed), 3, axis=1
    )
    moved = np.abs(drawn / drawn_sizes.sum(axis=1, keepdims=True) - gaps / count).sum(axis=1)
    # Of each bin as many independent samples as its clusters are worth that are right or wrong as a whole (Kish 1965).
    held = units(statistics, clusters)[:, -BINS:].astype(np.float64)
    worth = ratio(sizes**2, (held**2).sum(axis=0))
    filled = sizes > 0
    quantiles = np.random.default_rng(seed).standard_normal((resamples, int(filled.sum())))
    low, high = wilson(accuracy := right[filled] / sizes[filled], worth[filled], np.abs(quantiles))
    doubted = np.where(quantiles < 0, accuracy - low, high - accuracy) @ (sizes[filled] / count)
    reach = float(max(np.quantile(moved, level), np.quantile(doubted, level)))
    error = float(np.abs(gaps).sum() / count)
    return max(0.0, error - reach), min(1.0, error + reach)

"""Scores where an answer is one label: accuracy, F1 in its averages, and how often each label is answered.

A prediction of None, or one outside the labels, is wrong: it misses the gold label and is a false positive of none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mibe.metrics.arrays import BoolArray, FloatArray, np
from mibe.metrics.base import RightOrWrong, SampleMean, SingleFigure, as_column, ratio
from mibe.metrics.counts import Counted, EachLabel, LabelMean, MacroMean, MicroMean, OfGold, count, membership, split
from mibe.metrics.values import TEXT, Takes
from mibe.task import Value


@dataclass(frozen=True)
class Accuracy(SingleFigure, RightOrWrong):
    """Share of the samples whose prediction is the target."""

    name: str = "accuracy"

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 1): 1 where the prediction is the target, else 0."""
        return as_column([p is not None and p == t for p, t in zip(predictions, targets, strict=True)])


class OneLabel(Counted):
    """Counts where an answer is one label."""

    takes: ClassVar[Takes] = TEXT

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 3 · labels): hits, predictions and gold of each label."""
        predicted = membership([() if p is None else (p,) for p in predictions], self.labels)
        return count(predicted, membership([(t,) for t in targets], self.labels))


class MacroF1(OneLabel, MacroMean):
    """Mean F1 over a fixed list of labels; a label that never occurs counts as 0.

    The same as scikit-learn's `f1_score(…, labels=labels, average="macro", zero_division=0)`.
    """


@dataclass(frozen=True)
class MacroF1Gold(OneLabel, LabelMean):
    """Mean F1 over those of the labels that occur in the gold standard.

    The definition for data sets whose rare labels can be absent from a split (a sample of MTSamples; BioNLI, whose
    prompt offers a label that the data never use). In a resample, the labels that occur in that resample count.
    """

    name: str = "macro_f1_gold"

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., 3 · labels) → (..., 1)."""
        counts = split(totals)
        occurs = counts.gold > 0
        total = np.where(occurs, counts.f1, 0.0).sum(axis=-1, keepdims=True)
        return ratio(total, occurs.sum(axis=-1, keepdims=True).astype(np.float64))


@dataclass(frozen=True)
class WeightedF1(SingleFigure, OfGold, OneLabel):
    """Mean F1 over the labels, each weighted by its share of the gold standard (scikit-learn's "weighted")."""

    name: str = "weighted_f1"

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., 3 · labels) → (..., 1)."""
        counts = split(totals)
        return ratio((counts.f1 * counts.gold).sum(axis=-1, keepdims=True), counts.gold.sum(axis=-1, keepdims=True))


class MicroF1OfLabels(OneLabel, MicroMean):
    """F1 of the counts of some labels together; an answer of any other label is a miss, and no false positive.

    Over the four types of interaction alone it is the figure of DDI 2013's classification task and of BLUE and BLURB
    (Segura-Bedmar et al. 2013; Peng et al. 2019; Gu et al. 2021). Over all labels it would be accuracy.
    """


@dataclass(frozen=True)
class DetectionF1(SingleFigure, OfGold):
    """F1 of saying that one of the `labels` applies, whichever: DDI 2013's detection (Segura-Bedmar et al. 2013)."""

    labels: tuple[str, ...]
    name: str = "detection_f1"
    takes: ClassVar[Takes] = TEXT

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 3): hits, predictions and gold of any of the labels."""
        return count(self._applies(predictions), self._applies(targets))

    def _applies(self, values: Sequence[Value | None]) -> BoolArray:
        return np.array([value in self.labels for value in values], dtype=np.bool_).reshape(-1, 1)

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., 3) → (..., 1)."""
        return split(totals).f1


class PerLabel(OneLabel, EachLabel):
    """Precision, recall and F1 of each label; 0 where the denominator is."""


@dataclass(frozen=True)
class PredictedShare(SampleMean):
    """How often each label is answered, and how often none is: a model that always says the same shows here."""

    labels: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """One figure a label, then share[none] for answers that are missing or outside the labels."""
        return (*(f"share[{label}]" for label in self.labels), "share[none]")

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, labels + 1): 1 in the column of what was answered."""
        answered = membership([() if p is None else (p,) for p in predictions], self.labels)
        return np.concatenate([answered, ~answered.any(axis=1, keepdims=True)], axis=1, dtype=np.float64)

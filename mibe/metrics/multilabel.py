"""Scores where an answer is a set of labels. None counts as the empty set: it misses every gold label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.base import RightOrWrong, SingleFigure, as_column, ratio
from mibe.metrics.counts import Counted, EachLabel, MacroMean, MicroMean, count, membership
from mibe.metrics.values import TEXTS, Takes
from mibe.task import Value


@dataclass(frozen=True)
class SubsetAccuracy(SingleFigure, RightOrWrong):
    """Share of the samples whose predicted set is the gold set. None is wrong even where the gold set is empty."""

    name: str = "subset_accuracy"
    takes: ClassVar[Takes] = TEXTS

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 1): 1 where the sets are equal, else 0."""
        return as_column([p is not None and set(p) == set(t) for p, t in zip(predictions, targets, strict=True)])


class LabelSet(Counted):
    """Counts where an answer is a set of labels."""

    takes: ClassVar[Takes] = TEXTS

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 3 · labels): hits, predictions and gold of each label."""
        return count(membership([p or () for p in predictions], self.labels), membership(targets, self.labels))


class LabelwiseMacroF1(LabelSet, MacroMean):
    """Mean of the F1 of each label taken as a yes-or-no question; a label that never occurs counts as 0."""


class MicroF1(LabelSet, MicroMean):
    """F1 of the counts of all labels together."""


@dataclass(frozen=True)
class AnyLabelF1(LabelSet, MicroMean):
    """F1 of whether a sample has any label at all, the binary task of Mullenbach et al. 2021 (CLIP)."""

    name: str = "any_label_f1"

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 3): hit, prediction and gold of having a label."""
        predicted, gold = membership([p or () for p in predictions], self.labels), membership(targets, self.labels)
        return count(predicted.any(axis=1).reshape(-1, 1), gold.any(axis=1).reshape(-1, 1))


class LabelwiseScores(LabelSet, EachLabel):
    """Precision, recall and F1 of each label; 0 where the denominator is."""


@dataclass(frozen=True)
class ExampleF1:
    """Example-based precision, recall and F1, as the BLUE benchmark scores Hallmarks of Cancer (`blue/eval_hoc.py`).

    Precision and recall are taken in each document and averaged over the documents; F1 is the harmonic mean of those
    two means, not the mean of the documents' F1. A document without predictions has precision 0, one without gold
    labels (BLUE has none) recall 0. Peng et al. 2019, "Transfer learning in biomedical natural language processing".
    """

    prefix: str = "example_"
    takes: ClassVar[Takes] = TEXTS

    @property
    def names(self) -> tuple[str, ...]:
        """Three figures: example_precision, example_recall, example_f1."""
        return tuple(f"{self.prefix}{figure}" for figure in ("precision", "recall", "f1"))

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 3): precision and recall of the document, and a one that counts it."""
        pairs = [(set(p or ()), set(t)) for p, t in zip(predictions, targets, strict=True)]
        sizes = np.array([(len(p & t), len(p), len(t)) for p, t in pairs], dtype=np.float64).reshape(-1, 3)
        return np.concatenate([ratio(sizes[:, :1], sizes[:, 1:]), np.ones((len(pairs), 1))], axis=1)

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., 3) → (..., 3)."""
        means = ratio(totals[..., :2], totals[..., 2:])
        f1 = ratio(2 * means.prod(axis=-1, keepdims=True), means.sum(axis=-1, keepdims=True))
        return np.concatenate([means, f1], axis=-1)

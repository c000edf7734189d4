"""True positives, predictions and gold per label, and what precision, recall and F1 make of them.

Whether an answer is one label, a set of labels or a list of entities decides how hits are counted and nothing else:
the macro mean, the micro mean and the figures of each label are the same for all three.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mibe.metrics.arrays import BoolArray, FloatArray, np
from mibe.metrics.base import SingleFigure, ratio
from mibe.task import Value

FEW = 10
"""Fewer gold samples than this say little of a label, which has as much weight in a macro average as any other."""


class Counts(NamedTuple):
    """Totals of each label, three arrays of shape (..., labels)."""

    hits: FloatArray
    """True positives."""
    predicted: FloatArray
    """True and false positives."""
    gold: FloatArray
    """True positives and false negatives: the support."""

    @property
    def precision(self) -> FloatArray:
        """Share of the predictions that are right; 0 where nothing was predicted."""
        return ratio(self.hits, self.predicted)

    @property
    def recall(self) -> FloatArray:
        """Share of the gold that was found; 0 where there is no gold."""
        return ratio(self.hits, self.gold)

    @property
    def f1(self) -> FloatArray:
        """Harmonic mean of precision and recall; 0 where there is neither a prediction nor gold."""
        return ratio(2 * self.hits, self.predicted + self.gold)

    @property
    def macro_f1(self) -> FloatArray:
        """Shape (..., 1): the plain mean of the labels' F1."""
        mean: FloatArray = self.f1.mean(axis=-1, keepdims=True)
        return mean

    @property
    def pooled(self) -> Counts:
        """The counts of all labels together, shape (..., 1): what micro averages are made of."""
        return Counts(*(part.sum(axis=-1, keepdims=True) for part in self))


def count(predicted: BoolArray, gold: BoolArray) -> FloatArray:
    """Shape (samples, labels) twice → (samples, 3 · labels): hits, predictions and gold of each label."""
    return np.concatenate([predicted & gold, predicted, gold], axis=1, dtype=np.float64)


def split(totals: FloatArray) -> Counts:
    """The inverse of `count` on totals: shape (..., 3 · labels) → three arrays of shape (..., labels)."""
    return Counts(*np.split(totals, 3, axis=-1))


def membership(values: Sequence[Iterable[str]], labels: Sequence[str]) -> BoolArray:
    """Shape (samples, labels): which of the labels each sample's set holds. Other members are left out."""
    column = {label: index for index, label in enumerate(labels)}
    cells = [(row, column[label]) for row, members in enumerate(values) for label in members if label in column]
    held = np.zeros((len(values), len(labels)), dtype=np.bool_)
    held[tuple(np.array(cells, dtype=np.intp).reshape(-1, 2).T)] = True
    return held


def per_label(counts: Counts) -> FloatArray:
    """Shape (..., 3 · labels): precision, recall and F1 of the first label, of the second, …"""
    figures = np.stack([counts.precision, counts.recall, counts.f1], axis=-1)
    return figures.reshape(*figures.shape[:-2], -1)


@dataclass(frozen=True)
class Counted(ABC):
    """A metric of hits, predictions and gold of each label; the labels of entities are their types."""

    labels: tuple[str, ...]

    @abstractmethod
    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 3 · labels): hits, predictions and gold of each label."""


class OfGold(ABC):
    """A metric of counts that says nothing where the gold standard has no, or next to no, sample of what it is of."""

    labels: tuple[str, ...]

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the figures."""

    @abstractmethod
    def figures(self, totals: FloatArray) -> FloatArray:
        """Totals of hits, predictions and gold, shape (..., 3 · counted) → (..., figures)."""

    def few_gold(self, totals: FloatArray) -> dict[str, int]:
        """Label → its gold samples in the totals, where they are too few to say anything: none of any label."""
        return {} if split(totals).gold.any() else dict.fromkeys(self.labels, 0)

    def perfect(self, totals: FloatArray) -> float:
        """The figure of a model that gets everything right: less than 1 where what has no gold sample counts."""
        return float(self.figures(np.tile(split(totals).gold, 3))[0])


@dataclass(frozen=True)
class LabelMean(SingleFigure, OfGold, Counted):
    """A mean over labels that gives each the same weight, however rare it is."""

    def few_gold(self, totals: FloatArray) -> dict[str, int]:
        """Label → its gold samples in the totals, shape (3 · labels,), where they are fewer than `FEW`."""
        gold = split(totals).gold.astype(int).tolist()
        return {label: times for label, times in zip(self.labels, gold, strict=True) if times < FEW}


@dataclass(frozen=True)
class MacroMean(LabelMean):
    """Mean F1 over the labels; a label that never occurs counts as 0."""

    name: str = "macro_f1"

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., 3 · labels) → (..., 1)."""
        return split(totals).macro_f1


@dataclass(frozen=True)
class MicroMean(SingleFigure, OfGold, Counted):
    """F1 of the counts of all labels together."""

    name: str = "micro_f1"

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., 3 · labels) → (..., 1)."""
        return split(totals).pooled.f1


@dataclass(frozen=True)
class EachLabel(Counted):
    """Precision, recall and F1 of each label; 0 where the denominator is."""

    @property
    def names(self) -> tuple[str, ...]:
        """Three figures a label: precision[yes], recall[yes], f1[yes], precision[no], …"""
        return tuple(f"{figure}[{label}]" for label in self.labels for figure in ("precision", "recall", "f1"))

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., 3 · labels) → (..., 3 · labels)."""
        return per_label(split(totals))

    def unknown(self, totals: FloatArray) -> BoolArray:
        """Shape (3 · labels,): which of the figures are 0 since nothing was there to count, and say nothing."""
        counts = split(totals)
        empty: BoolArray = (
            np.stack([counts.predicted, counts.gold, counts.predicted + counts.gold], axis=-1).reshape(-1) == 0
        )
        return empty

"""True positives, predictions and gold per label, and what precision, recall and F1 make of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mibe.arrays import BoolArray, FloatArray, np
from mibe.metrics.base import ratio


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


def per_label_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Names of the figures that `per_label` returns, in its order."""
    return tuple(f"{figure}[{label}]" for label in labels for figure in ("precision", "recall", "f1"))


def per_label(counts: Counts) -> FloatArray:
    """Shape (..., 3 · labels): precision, recall and F1 of the first label, of the second, …"""
    figures = np.stack([counts.precision, counts.recall, counts.f1], axis=-1)
    return figures.reshape(*figures.shape[:-2], -1)

"""Scores where an answer is a short text: SQuAD's exact match and token F1.

A target is a text or a list of accepted texts, of which the best-scoring one counts. Definition and normalisation are
those of the official SQuAD v1.1 evaluation script (Rajpurkar et al. 2016, section 6.1). None scores 0.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mibe.metrics.arrays import FloatArray
from mibe.metrics.base import RightOrWrong, SampleMean, SingleFigure, as_column
from mibe.metrics.values import ANY_OF_TEXTS, Takes
from mibe.task import Value

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(a|an|the)\b")


def normalise(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, words parted by one space."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, reference: str) -> float:
    """1 if the texts are equal after normalisation, else 0."""
    return float(normalise(prediction) == normalise(reference))


def token_f1(prediction: str, reference: str) -> float:
    """Harmonic mean of precision and recall of the words, counted as often as they occur; 0 without a common word."""
    predicted, gold = normalise(prediction).split(), normalise(reference).split()
    common = (Counter(predicted) & Counter(gold)).total()
    return 2 * common / (len(predicted) + len(gold)) if common else 0.0


@dataclass(frozen=True)
class ExactMatch(SingleFigure, RightOrWrong):
    """Share of the answers that equal a reference after normalisation."""

    name: str = "exact_match"
    takes: ClassVar[Takes] = ANY_OF_TEXTS

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 1): 1 or 0."""
        return _best(exact_match, predictions, targets)


@dataclass(frozen=True)
class TokenF1(SingleFigure, SampleMean):
    """Mean F1 of the words that answer and reference have in common."""

    name: str = "f1"
    takes: ClassVar[Takes] = ANY_OF_TEXTS

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 1): from 0 to 1."""
        return _best(token_f1, predictions, targets)


def _best(
    measure: Callable[[str, str], float], predictions: Sequence[Value | None], targets: Sequence[Value]
) -> FloatArray:
    """Shape (samples, 1): the measure against the best of each sample's references, 0 where the prediction is None."""
    return as_column(
        [
            0.0 if p is None else max((measure(p, reference) for reference in _references(t)), default=0.0)
            for p, t in zip(predictions, targets, strict=True)
        ]
    )


def _references(target: Value) -> Sequence[str]:
    """The accepted answers: a target is one text or a list of them."""
    return (target,) if isinstance(target, str) else target

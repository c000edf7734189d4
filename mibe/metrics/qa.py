"""Scores where an answer is a short text: SQuAD's exact match and token F1.

A target is a text or a list of accepted texts, of which the best-scoring one counts. Definition and normalisation are
those of the official SQuAD v1.1 evaluation script (Rajpurkar et al. 2016, section 6.1). None scores 0.

That script takes points and signs out of numbers: 1.5 mg is 15 mg to it. Where no published figure has to be met,
answers are compared by `said` instead, which leaves them in.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mibe.metrics.arrays import FloatArray
from mibe.metrics.base import RightOrWrong, SampleMean, SingleFigure, as_column
from mibe.metrics.values import ANY_OF_TEXTS, Takes
from mibe.task import Value

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = ("a", "an", "the")
_ARTICLE = re.compile(rf"\b({'|'.join(_ARTICLES)})\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SAID = re.compile(
    r"(?:(?<![\w.)%])(?:[<>\u2264\u2265]=? ?)?[+-]?(?=[\d.]))?(?:\d+(?:[.,:/]\d+)*|\.\d+)(?: ?%)?"  # "<= 0.5 %", "-1"
    r"|[^\W\d_]\w*[+-](?![\w+-])"  # "HER2+"
    r"|\w+"
)


def normalise(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, words parted by one space."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, reference: str, form: Callable[[str], str] = normalise) -> float:
    """1 if the texts are equal in this form, else 0."""
    return float(form(prediction) == form(reference))


def said(text: str) -> str:
    """The words in lower case, without punctuation and articles, and the numbers with their points and signs.

    A text of articles alone keeps them, one of signs alone stays as it is.
    """
    plain = _THOUSANDS.sub("", text.lower().replace("\u2212", "-"))
    words = [word.replace(" ", "") for word in _SAID.findall(plain)]
    return " ".join([word for word in words if word not in _ARTICLES] or words) or plain.strip()


def token_f1(prediction: str, reference: str, form: Callable[[str], str] = normalise) -> float:
    """Harmonic mean of precision and recall of the words, counted as often as they occur; 0 without a common word."""
    predicted, gold = form(prediction).split(), form(reference).split()
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


@dataclass(frozen=True)
class SaidMatch(ExactMatch):
    """Share of the answers that say what a reference says (`said`)."""

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 1): 1 or 0."""
        return _best(partial(exact_match, form=said), predictions, targets)


@dataclass(frozen=True)
class SaidF1(TokenF1):
    """Mean F1 of the words and numbers that answer and reference have in common (`said`)."""

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 1): from 0 to 1."""
        return _best(partial(token_f1, form=said), predictions, targets)


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

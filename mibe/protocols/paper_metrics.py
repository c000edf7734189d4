"""How the released code scores (Me-LLaMA, `src/tasks/vital_measure.py`), where the default metrics differ from it."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.base import SampleMean, SingleFigure, as_column
from mibe.metrics.counts import split
from mibe.metrics.values import ANY_OF_TEXTS, Takes, is_entities, is_texts
from mibe.parsers.spans import Span, write_marks
from mibe.protocols.paper_marks import align, chunks, tagged_words
from mibe.task import Value

_PUNCTUATION = frozenset(string.punctuation)


@dataclass(frozen=True)
class Missing(SingleFigure, SampleMean):
    """Share of the outputs in which no choice, or for DDI not exactly one, was found."""

    name: str = "missing"

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 1): 1 where there is no answer, else 0."""
        return as_column([prediction is None for prediction in predictions])


def characters(text: str) -> list[str]:
    """Lower case, without ASCII punctuation and white space: what the released code's normalisation makes words of.

    It joins the characters that are left by spaces, where SQuAD's joins them by nothing, and then splits at the
    spaces. Articles stay.
    """
    return [char for char in text.lower() if char not in _PUNCTUATION and not char.isspace()]


def character_f1(prediction: str, reference: str) -> float:
    """F1 of the distinct characters in common over all characters; for two texts without any, 1.

    An exact match scores below 1 where a character repeats: "lisinopril" has 7 distinct ones among 10, 0.7.
    """
    predicted, gold = characters(prediction), characters(reference)
    if not predicted or not gold:
        return float(predicted == gold)
    common = len(set(predicted) & set(gold))
    return 2 * common / (len(predicted) + len(gold))


@dataclass(frozen=True)
class CharacterScores(SampleMean):
    """Exact match and F1 of emrQA (`NormQA`): both over characters.

    The released data have one answer a question; of several references the first counts.
    """

    takes: ClassVar[Takes] = ANY_OF_TEXTS

    @property
    def names(self) -> tuple[str, ...]:
        """Two figures."""
        return ("exact_match", "f1")

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 2)."""
        pairs = [(p or "", t if isinstance(t, str) else t[0]) for p, t in zip(predictions, targets, strict=True)]
        rows = [(characters(p) == characters(t), character_f1(p, t)) for p, t in pairs]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)


def _is_marked(value: Value) -> bool:
    """What `MarkedWords` reads: {"sentence": text, "words": [[word, tag], …]}."""
    if not isinstance(value, dict) or not isinstance(value.get("sentence"), str):
        return False
    words = value.get("words")
    return isinstance(words, list) and all(is_texts(word) and len(word) == 2 for word in words)


@dataclass(frozen=True)
class AlignedEntities:
    """F1, precision and recall of all entities together, over the words that line up with the gold sentence (`NER`).

    Predictions are those of `MarkedWords`, targets lists of [type, start, end] in characters of the sentence. Gold
    entities beyond the end of a truncated output are no misses, since their words line up with nothing.
    """

    takes: ClassVar[Takes] = Takes(_is_marked, is_entities)

    @property
    def names(self) -> tuple[str, ...]:
        """Three figures."""
        return ("entity_f1", "entity_precision", "entity_recall")

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 3): hits, predicted and gold entities of each aligned sentence."""
        rows = [_entity_counts(p, t) for p, t in zip(predictions, targets, strict=True)]
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., 3) → (..., 3)."""
        counts = split(totals)
        return np.concatenate([counts.f1, counts.precision, counts.recall], axis=-1)


def _entity_counts(prediction: Value | None, target: Value) -> tuple[int, int, int]:
    """Hits, predicted and gold entities; none at all for an output, or a sentence, that is no HTML."""
    if prediction is None:
        return 0, 0, 0
    gold = tagged_words(write_marks(prediction["sentence"], [Span(*item) for item in target])) or []
    predicted_tags, gold_tags = align(prediction["words"], gold)
    predicted_entities, gold_entities = chunks(predicted_tags), chunks(gold_tags)
    return len(predicted_entities & gold_entities), len(predicted_entities), len(gold_entities)

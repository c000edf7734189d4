"""Scores where an answer is a list of entities, each [type, start, end] with `end` exclusive.

Offsets count characters or tokens of the source, as long as predictions and targets count the same. An entity that a
model made up has no place in the source: give it an empty span at a negative offset, another one for each, and it
overlaps nothing and is a false positive. The same entity twice counts once; None counts as no entity, so that every
gold entity is missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple

from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.counts import Counted, EachLabel, MacroMean, MicroMean, OfGold, per_label, split
from mibe.metrics.values import ENTITIES, Takes
from mibe.task import Value


class Entity(NamedTuple):
    """One entity; the tuple form of [type, start, end]."""

    type: str
    start: int
    end: int


def entities(value: Value | None, types: Iterable[str]) -> list[Entity]:
    """The distinct entities of the given types, in the order of the text."""
    known = set(types)
    distinct = {Entity(*item) for item in value or () if item[0] in known}
    return sorted(distinct, key=lambda entity: (entity.start, entity.end, entity.type))


class EntityList(Counted):
    """Counts where an answer is a list of entities: one is right if type, start and end all are."""

    takes: ClassVar[Takes] = ENTITIES

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 3 · types): hits, predictions and gold of each type."""
        rows = [
            self._row(set(entities(p, self.labels)), set(entities(t, self.labels)))
            for p, t in zip(predictions, targets, strict=True)
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 3 * len(self.labels))

    def _row(self, predicted: set[Entity], gold: set[Entity]) -> list[int]:
        by_type = [Counter(entity.type for entity in group) for group in (predicted & gold, predicted, gold)]
        return [counter[name] for counter in by_type for name in self.labels]


class EntityMacroF1(EntityList, MacroMean):
    """Mean over the types of the strict entity-level F1; a type that never occurs counts as 0."""


class EntityMicroF1(EntityList, MicroMean):
    """Strict entity-level F1 of all types together, as seqeval's strict mode."""


class EntityScores(EntityList, EachLabel):
    """Strict precision, recall and F1 of each type; 0 where the denominator is."""


class Schema(StrEnum):
    """When a predicted entity counts as right (SemEval 2013 task 9.1, Segura-Bedmar et al. 2013; nervaluate)."""

    STRICT = "strict"
    """Type and both boundaries are right."""
    EXACT = "exact"
    """Both boundaries are right, whatever the type."""
    PARTIAL = "partial"
    """Both boundaries are right; an overlap counts half. The type does not matter."""
    ENT_TYPE = "ent_type"
    """The type is right and the spans overlap."""


@dataclass(frozen=True)
class OverlapF1(OfGold):
    """Precision, recall and F1 of one SemEval schema, all types together, as nervaluate defines them.

    Predictions are matched in the order of the text, each gold entity at most once; an overlap that is not right
    still uses up the gold entity (and is incorrect, or in the partial schema half right).
    """

    types: tuple[str, ...]
    schema: Schema = Schema.PARTIAL
    takes: ClassVar[Takes] = ENTITIES

    @property
    def labels(self) -> tuple[str, ...]:  # type: ignore[override]
        """The types."""
        return self.types

    @property
    def names(self) -> tuple[str, ...]:
        """Three figures: partial_precision, partial_recall, partial_f1."""
        return tuple(f"{self.schema}_{figure}" for figure in ("precision", "recall", "f1"))

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 3): credit (1 for a match, ½ for a partial one), predictions and gold."""
        rows = []
        for prediction, target in zip(predictions, targets, strict=True):
            predicted, gold = entities(prediction, self.types), entities(target, self.types)
            rows.append((credit(predicted, gold, self.schema), len(predicted), len(gold)))
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., 3) → (..., 3)."""
        return per_label(split(totals))


def credit(predicted: Sequence[Entity], gold: Sequence[Entity], schema: Schema) -> float:
    """The sum of what each prediction earns under the schema: 1, ½ or 0."""
    left = list(gold)
    earned = 0.0
    for entity in predicted:
        candidates = [other for other in left if _right(entity, other, schema)]
        if candidates:
            earned += 1
            left.remove(min(candidates, key=lambda other: _distance(entity, other)))
        elif touched := next((other for other in left if _overlaps(entity, other)), None):
            earned += 0.5 if schema is Schema.PARTIAL else 0
            left.remove(touched)
    return earned


def _right(entity: Entity, gold: Entity, schema: Schema) -> bool:
    same_type = entity.type == gold.type
    if schema is Schema.ENT_TYPE:
        return same_type and _overlaps(entity, gold)
    same_span = entity[1:] == gold[1:]
    return same_span and same_type if schema is Schema.STRICT else same_span


def _overlaps(entity: Entity, gold: Entity) -> bool:
    """Whether at least a hundredth of the gold span is covered, nervaluate's default."""
    common = min(entity.end, gold.end) - max(entity.start, gold.start)
    return common > 0 and 100 * common >= gold.end - gold.start


def _distance(entity: Entity, gold: Entity) -> int:
    return abs(entity.start - gold.start) + abs(entity.end - gold.end)

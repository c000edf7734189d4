"""What the values are that metrics take: a sample from somebody else's log is looked at before it is scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mibe.task import Metric, Value

FARTHEST = 10_000_000
"""The largest offset of an entity: no document has as many characters."""


@dataclass(frozen=True, slots=True)
class Takes:
    """Whether a metric takes a value as a prediction (None, no answer, aside) and as a target."""

    prediction: Callable[[Value], bool]
    target: Callable[[Value], bool]


def is_text(value: Value) -> bool:
    """A label, a letter or free text."""
    return isinstance(value, str)


def is_texts(value: Value) -> bool:
    """A list of labels or names."""
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)


def is_text_or_texts(value: Value) -> bool:
    """A text, or several of which each will do; at least one."""
    return is_text(value) or (bool(value) and is_texts(value))


def is_entities(value: Value) -> bool:
    """A list of [type, start, end]."""
    return isinstance(value, list | tuple) and all(map(_is_entity, value))


def _is_entity(value: Value) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 3 or not isinstance(value[0], str):
        return False
    return all(type(offset) is int and abs(offset) <= FARTHEST for offset in value[1:])


TEXT = Takes(is_text, is_text)
TEXTS = Takes(is_texts, is_texts)
ENTITIES = Takes(is_entities, is_entities)
ANY_OF_TEXTS = Takes(is_text, is_text_or_texts)
NAMES = Takes(is_texts, is_text_or_texts)


def takes_of(metric: Metric) -> Takes | None:
    """What a metric takes; None where it does not say, as a plugin's may not."""
    found = getattr(metric, "takes", None)
    return found if isinstance(found, Takes) else None

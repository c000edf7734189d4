"""What may be wrong with a file that was read: contradictions in it, and what it names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Problem(NamedTuple):
    """What is wrong with the value of a dotted key, as `data.files[1]`."""

    key: str
    what: str


class FieldError(ValueError):
    """A value of the field named `field` contradicts another field; so do those of `others`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.others: tuple[FieldError, ...] = ()


def refuse(found: Iterable[FieldError]) -> None:
    """Raise the first of these, which tells of the others too; nothing where there is none."""
    errors = tuple(found)
    if errors:
        errors[0].others = errors[1:]
        raise errors[0]

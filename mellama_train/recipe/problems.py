"""What may be wrong with a file that was read: contradictions in it, and what it names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TRAINER_KEY = "trainer"
"""The key by which a recipe may say whose it is; it belongs to no schema."""

LONGEST_NAME = 255
"""Bytes of the name of a file or folder, on all usual file systems."""


def has_too_long_name(path: str) -> bool:
    """Whether a name in a path is longer than that of any file."""
    return any(len(name) > LONGEST_NAME for name in os.fsencode(path).split(b"/"))


def problem_of_output(folder: Path) -> str | None:
    """Why nothing can be written into a folder, which need not be there: a file stands in its place, or above it."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return None if there.is_dir() else f"{there} is a file; give a folder, which need not be there"


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

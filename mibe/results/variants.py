"""Runs that ask each document in several versions: how the figures of a task's record about them are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FLIPPED = "flipped"
"""How often a version's answer is another than that of the document itself."""


def mean_name(metric: str) -> str:
    """A figure over all versions, of the documents that have all of them."""
    return f"{metric}_mean"


def worst_name(metric: str) -> str:
    """A figure of the version in which it is least."""
    return f"{metric}_worst"


def all_name(metric: str) -> str:
    """Share of the documents that are right in all versions."""
    return f"{metric}_in_all"


def place_name(metric: str, letter: str) -> str:
    """A figure of the samples whose right option stands at this letter."""
    return f"{metric}_at[{letter}]"


def answered_name(letter: str) -> str:
    """How often a letter is answered."""
    return f"answered[{letter}]"


def samples_asked(data: Mapping[str, Any]) -> int:
    """How many samples of one draw a task's part of the record says were asked: documents, or their versions."""
    return int((data.get("variation") or {}).get("samples", data["data"]["documents"]))

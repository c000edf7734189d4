"""What a task's part of the record says of how often one and the same answer was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHARE = 0.99
"""Share of the answers read from which on a model is said to give always the same one."""

ANSWERS = 10
"""Answers that must be there to say so: fewer are equal by chance."""


def answers_of(task: Mapping[str, Any]) -> tuple[int, int] | None:
    """Answers that were read, and how often the commonest was given. None where an older record does not tell.

    Older records have no "answers"; those of tasks with labels tell by the columns of their confusion matrix.
    """
    if (counts := task.get("answers")) is not None:
        return counts["read"], counts["commonest"]
    if (matrix := task.get("confusion")) is not None:
        # The last column is of answers that are missing.
        given = [sum(column) for column in zip(*matrix["counts"], strict=True)][:-1]
        return sum(given), max(given, default=0)
    return None


def commonest(task: Mapping[str, Any]) -> str:
    """How often the commonest answer was given: "495 of 500"; "" where the record does not tell."""
    found = answers_of(task)
    return "" if found is None else f"{found[1]:,} of {found[0]:,}"


def is_constant(task: Mapping[str, Any]) -> bool | None:
    """Whether the model gave always the same answer; None where the record does not tell."""
    if (found := answers_of(task)) is None:
        return None
    read, given = found
    return read >= ANSWERS and given >= SHARE * read

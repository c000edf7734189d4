"""Samples that somebody wants to look at: the wrong ones, those of one outcome, those that hold a text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mibe.errors import unknown
from mibe.results.log import Row
from mibe.task import Outcome

VERDICTS = ("accuracy", "exact_match", "subset_accuracy", "top1_accuracy")
"""Scores of a sample that are 1 where it is right: the first of these that a task has says so."""

SEARCHED = ("id", "output", "prediction", "target", "error")
"""Fields of a sample that a text is looked for in."""


def verdict_of(row: Row) -> str | None:
    """The name of the score that says whether a sample is right; None where it has a grade, or no score."""
    scores = row.get("scores") or {}
    return next((name for name in VERDICTS if name in scores), None)


def is_right(row: Row) -> int | None:
    """1 or 0, None where a sample is not right or wrong but has a grade, or failed."""
    name = verdict_of(row)
    return None if name is None or row["outcome"] == Outcome.ERROR else int(row["scores"][name] == 1)


def is_graded(row: Row) -> bool:
    """Whether a sample has scores of which none says right or wrong, as a summary has."""
    return bool(row.get("scores")) and verdict_of(row) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """Samples that are wrong, of an outcome, and hold a text in any case of its letters: all that is given must hold.

    Raises `UsageError` for an outcome that there is not.
    """

    wrong: bool = False
    outcome: str | None = None
    search: str | None = None

    def __post_init__(self) -> None:
        if self.outcome is not None and self.outcome not in tuple(Outcome):
            raise unknown("outcome", self.outcome, [outcome.value for outcome in Outcome])

    def __call__(self, row: Row) -> bool:
        """Whether a row is one of them."""
        if self.wrong and is_right(row) != 0:
            return False
        if self.outcome is not None and row["outcome"] != self.outcome:
            return False
        return self.search is None or any(self.search.casefold() in _text(row.get(name)) for name in SEARCHED)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).casefold()

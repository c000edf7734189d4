"""Which sample a row of a log is: a document, and the draw of it where a run asks each document several times.

Rows of runs with one draw a document have no "draw"; theirs is the first, number 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Key = tuple[str, int]
"""The id of the document, and the number of the draw from 0."""


def draw_of(row: Mapping[str, Any]) -> int:
    """The number of the row's draw."""
    return int(row.get("draw", 0))


def sample_key(row: Mapping[str, Any]) -> Key:
    """What tells a sample from every other of its task."""
    return row["id"], draw_of(row)


def first_draws(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of each document the first draw alone: what a person rates, and what a judge is compared with a person on."""
    return (row for row in rows if draw_of(row) == 0)

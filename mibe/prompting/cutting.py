"""Cuts in the middle of a document's long fields, so that a prompt fits the window and the question stays whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from mibe.task import Example

CUT_MARK = " […] "


def shorten(example: Example, fields: Sequence[str], cap: int) -> Example:
    """The example with each of `fields` cut in the middle to at most `cap` characters."""
    inputs = {name: cut_middle(text, cap) if name in fields else text for name, text in example.inputs.items()}
    return replace(example, inputs=inputs)


def cut_middle(text: str, cap: int) -> str:
    """Beginning and end of a text, whole words where it has any, with a mark where the middle was."""
    if len(text) <= cap:
        return text
    room = max(0, cap - len(CUT_MARK))
    head, tail = text[: (room + 1) // 2], text[len(text) - room // 2 :]
    if " " in head:
        head = head.rsplit(" ", 1)[0]
    if " " in tail:
        tail = tail.split(" ", 1)[1]
    return f"{head}{CUT_MARK}{tail}"


def largest_cap(longest: int, fits: Callable[[int], bool]) -> int | None:
    """The largest cap in characters, at most `longest`, for which `fits` holds; None if not even 0 does."""
    if not fits(0):
        return None
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def longest_field(fields: Sequence[str], examples: Iterable[Example]) -> int:
    """Characters of the longest of these fields over the examples."""
    return max((len(e.inputs.get(name, "")) for e in examples for name in fields), default=0)

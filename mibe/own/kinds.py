"""The kinds of task that a table can be, and which of them its target column looks like."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What an answer is."""

    LABEL = "label"
    """One of a closed list of labels."""
    LABELS = "labels"
    """Any number of them."""
    CHOICE = "multiple-choice"
    """The letter of an option."""
    SPANS = "spans"
    """Stretches of the text, each with its type."""
    ANSWER = "answer"
    """A short text; several may be right."""
    SUMMARY = "summary"
    """A long text."""
    RANKED = "ranked"
    """A ranked list, in which the right name should stand high."""


WORDS = {
    Kind.LABEL: "one label",
    Kind.LABELS: "a set of labels",
    Kind.CHOICE: "the letter of an option",
    Kind.SPANS: "marked spans",
    Kind.ANSWER: "a short answer",
    Kind.SUMMARY: "a summary",
    Kind.RANKED: "a ranked list",
}
"""Each kind in words, for the screen."""

SEPARATORS = re.compile(r"\s*[;|]\s*")
"""What parts labels, and accepted answers, in one cell."""

MARKED = re.compile(r"<(?:span\b[^<>]*|[A-Za-z][\w-]{0,30})>[^<]*</(?:span|[A-Za-z][\w-]{0,30})>")
"""A marked stretch of text: `<span class="drug">aspirin</span>` or `<drug>aspirin</drug>`."""

MOST_LABELS = 50
LONGEST_LABEL = 40
"""Characters of a text that may be a label."""
SHORTEST_SUMMARY = 20
"""Words on average, from which on a free text is a summary."""


def guess(targets: Sequence[Any], *, labels: Sequence[str], has_choices: bool, columns: int) -> Kind:
    """The kind that these cells of the target column look like; `columns` is how many columns the target has."""
    given = [target for target in targets if target is not None]
    if has_choices:
        return Kind.CHOICE
    if columns > 1 or any(_is_spans(target) for target in given):
        return Kind.SPANS
    known = set(labels)
    if labels:
        several = any(isinstance(t, list) or (str(t) not in known and SEPARATORS.search(str(t))) for t in given)
        return Kind.LABELS if several else Kind.LABEL
    names = [name for target in given for name in parts(target)]
    if _are_labels(names):
        return Kind.LABELS if any(isinstance(t, list) or len(parts(t)) > 1 for t in given) else Kind.LABEL
    texts = [str(target) for target in given if not isinstance(target, list)]
    words = sum(len(text.split()) for text in texts) / max(len(texts), 1)
    return Kind.SUMMARY if words >= SHORTEST_SUMMARY else Kind.ANSWER


def parts(target: Any) -> list[str]:
    """The names in a cell: those of a list, or of a text with semicolons or bars between them."""
    if isinstance(target, list):
        return [text_of(one).strip() for one in target]
    return [name for name in SEPARATORS.split(text_of(target).strip()) if name]


def text_of(value: Any) -> str:
    """A cell as text: whole numbers without a fraction (as workbooks hold them), truth as JSON writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _is_spans(target: Any) -> bool:
    if isinstance(target, str):
        return MARKED.search(target) is not None
    return isinstance(target, list) and bool(target) and all(isinstance(one, dict | list) for one in target)


def _are_labels(names: Sequence[str]) -> bool:
    """Whether names are few, short, and return, each twice on average: what is said once is no label."""
    counted = Counter(names)
    if not counted or max(map(len, counted)) > LONGEST_LABEL:
        return False
    return len(counted) <= MOST_LABELS and 2 * len(counted) <= len(names)

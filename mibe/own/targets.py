"""From a cell to a target, for each kind of task. Each function raises `ValueError`, saying what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from mibe.data.parsing import parse_json
from mibe.own.kinds import parts, text_of
from mibe.parsers.spans import Span, read_marks, write_marks
from mibe.task import letter

SHOWN = 60
"""Characters of a cell that an error quotes."""

EMPTY = "none"
"""What a model writes for an empty set of labels."""

UNTYPED = "entity"
"""The type of spans whose table has none."""


def native(cell: Any) -> Any:
    """The cell, and where it is the JSON text of a list or an object, that."""
    if isinstance(cell, str) and cell.lstrip()[:1] in ("[", "{"):
        try:
            return parse_json(cell)
        except json.JSONDecodeError:
            return cell
    return cell


def one_label(cell: Any, labels: Collection[str], aliases: Mapping[str, str]) -> str:
    """The label that the cell names; case aside, where that leaves no doubt."""
    if isinstance(cell, list):
        if len(cell) != 1:
            raise ValueError(f"{len(cell)} labels where one is expected; --kind labels takes several")
        cell = cell[0]
    text = text_of(cell).strip()
    if text in labels:
        return text
    if text in aliases:
        return aliases[text]
    if len(same := [label for label in labels if label.lower() == text.lower()]) == 1:
        return same[0]
    raise ValueError(f"{quoted(text)} is none of the labels{_nearest(text, labels)}")


def label_set(cell: Any, labels: Sequence[str], aliases: Mapping[str, str]) -> list[str]:
    """The labels in the cell, in the order of `labels`; an empty cell, or "none", is the empty set."""
    if cell is None and EMPTY in labels:
        raise ValueError(f"no label; {EMPTY!r} is one, so write it where none of the others applies")
    if cell is None or (isinstance(cell, str) and cell.strip().lower() == EMPTY and EMPTY not in labels):
        return []
    names = parts(cell)
    if isinstance(cell, str) and len(names) == 1 and names[0] not in labels and "," in names[0]:
        names = [name.strip() for name in names[0].split(",") if name.strip()]
    found = {one_label(name, labels, aliases) for name in names}
    return [label for label in labels if label in found]


def choice(cell: Any, choices: Sequence[str], first: int) -> str:
    """The letter of the right option: a letter, an option's own text, or a number that counts from `first`."""
    text = text_of(cell[0] if isinstance(cell, list) and len(cell) == 1 else cell).strip()
    letters = [letter(i) for i in range(len(choices))]
    if text.upper().rstrip(".)").lstrip("(") in letters and text not in choices:
        return text.upper().rstrip(".)").lstrip("(")
    if len(same := [i for i, option in enumerate(choices) if option.strip() == text]) == 1:
        return letters[same[0]]
    if text.upper() in letters:
        return text.upper()
    if text.isdecimal() and first <= int(text) < first + len(choices):
        return letters[int(text) - first]
    raise ValueError(f"{quoted(text)} is neither a letter from A to {letters[-1]} nor the text of one option")


def accepted(cell: Any) -> str | list[str]:
    """A short answer, or the list of those that are accepted."""
    if not isinstance(cell, list):
        return text_of(cell).strip()
    found = [text_of(one).strip() for one in cell if one is not None and text_of(one).strip()]
    if not found:
        raise ValueError("the list of answers is empty")
    return found


def ranked_names(cell: Any) -> list[str]:
    """The names that are right, of which one should stand high in the list."""
    if names := parts(cell):
        return names
    raise ValueError("no name")


def marked_spans(marked: str, types: Sequence[str]) -> tuple[str, list[list[Any]]]:
    """The text without its marks, and [type, start, end] of each."""
    text, spans = read_marks(marked, {kind.lower(): kind for kind in types})
    return text, [[span.type, span.start, span.end] for span in spans]


def listed_spans(cell: Any, text: str) -> list[list[Any]]:
    """[type, start, end] of each entry of a list: such a list, or an object with start, end and type or label."""
    if cell is None:
        return []
    if not isinstance(cell, list):
        raise ValueError("the target is neither marked text nor a list of spans")
    return [span(*_entry(one), text) for one in cell]


def span(kind: Any, start: Any, end: Any, text: str) -> list[Any]:
    """One span, which lies in the text; `end` is the place after its last character."""
    try:
        first, last = int(text_of(start)), int(text_of(end))
    except ValueError:
        raise ValueError(f"start and end are numbers of characters, not {start!r:.20} and {end!r:.20}") from None
    if not 0 <= first < last <= len(text):
        raise ValueError(f"the span from {first} to {last} does not lie in the text of {len(text):,} characters")
    return [UNTYPED if kind is None else text_of(kind).strip(), first, last]


def crossing(spans: Sequence[Sequence[Any]], text: str) -> bool:
    """Whether two spans cross, which no marks can show."""
    shown = read_marks(write_marks(text, [Span(*one) for one in spans]), {str(one[0]).lower(): one[0] for one in spans})
    return len(shown[1]) < len({tuple(one) for one in spans})


def type_of(one: Any) -> str:
    """The type of an entry of a list of spans."""
    kind = _entry(one)[0]
    return UNTYPED if kind is None else text_of(kind).strip()


def _entry(one: Any) -> tuple[Any, Any, Any]:
    if isinstance(one, dict):
        kind = next((one[key] for key in ("type", "label", "entity", "category") if key in one), None)
        if "start" in one and "end" in one:
            return kind, one["start"], one["end"]
    if isinstance(one, list) and len(one) == 3:
        # Libraries differ in where the type stands: [type, start, end] and [start, end, type].
        return (one[0], one[1], one[2]) if isinstance(one[0], str) else (one[2], one[0], one[1])
    raise ValueError("a span is [type, start, end], or an object with start, end and type")


def quoted(text: str) -> str:
    """A cell as an error shows it."""
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "…")


def _nearest(text: str, labels: Collection[str]) -> str:
    by_fold = {label.lower(): label for label in labels}
    close = get_close_matches(text.lower(), list(by_fold), n=2, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(by_fold[name] for name in close)}?"
    return f" ({', '.join(labels)})" if len(labels) <= 10 else ""

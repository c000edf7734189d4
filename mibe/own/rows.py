"""From rows to examples, or to what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

from mibe.own import targets
from mibe.own.description import Columns, TaskFile
from mibe.own.kinds import MARKED, Kind, parts, text_of
from mibe.own.tables import Line
from mibe.task import Example

_FIELD = re.compile(r"[{}\[\].:!]")
_CLASSES = re.compile(
    r"<span\b[^<>]*?class\s*=\s*[\"']?([^\"'<>]+?)[\"']?\s*>|<([A-Za-z][\w-]{0,30})>(?=[^<]*</\2>)", re.I
)
_OPENED = re.compile(r"<(?!/)[^<>]+>")
OPTION_KEYS = frozenset({"letter", "label", "key", "id", "index"})
"""Keys of an option that name it, beside its text."""
WHOLE_TEXT = "text"
"""The field of a marked text, where no column has it without marks."""


def examples_of(description: TaskFile, lines: Sequence[Line]) -> tuple[list[Example], list[str]]:
    """The examples of a split, and what is wrong with the rows that are none."""
    examples: list[Example] = []
    problems: list[str] = []
    seen: dict[str, str] = {}
    for number, (line, cells) in enumerate(_documents(description, lines, problems), start=1):
        try:
            example = _example(description, line, cells, number)
        except ValueError as error:
            problems.append(f"{line.where}: {error}")
            continue
        if example.id in seen:
            problems.append(f"{line.where}: the id {example.id!r} stands in {seen[example.id]} too")
        seen[example.id] = line.where
        examples.append(example)
    return examples, problems


def field_of(column: str) -> str:
    """The name of a column as a field of a prompt: what a format string would take for its own is an underscore."""
    return _FIELD.sub("_", column)


def types_in(cell: Any) -> list[str]:
    """The types of the spans in a cell; what is no span has none, and is a problem later."""
    if isinstance(cell, str):
        return [found[1] or found[2] for found in _CLASSES.finditer(cell)]
    names = []
    for one in cell if isinstance(cell, list) else ():
        try:
            names.append(targets.type_of(one))
        except ValueError:
            continue
    return names


def choices_in(columns: Columns, line: Line) -> tuple[str, ...]:
    """The options of a row. Raises ValueError where it has fewer than two, or one is missing between others."""
    texts: list[str | None]
    if len(columns.choices) > 1:
        texts = [_option(line.cells.get(name)) for name in columns.choices]
    else:
        texts = [_option(one) for one in _listed(targets.native(line.cells.get(columns.choices[0])))]
    while texts and texts[-1] is None:
        texts.pop()
    found = tuple(text for text in texts if text)
    if len(found) < 2 or len(found) < len(texts):
        raise ValueError(
            "fewer than two options" if len(found) < 2 else "an option is empty before others that are not"
        )
    return found


def _listed(cell: Any) -> Sequence[Any]:
    """The options in one cell: a list, an object, or a text with semicolons or bars between them."""
    if isinstance(cell, dict):
        # {"A": "…", "B": "…"} as in MedQA, or {"label": […], "text": […]} as in ARC.
        return cell["text"] if isinstance(cell.get("text"), list) else list(cell.values())
    if isinstance(cell, list):
        return cell
    return () if cell is None else parts(cell)


def _option(one: Any) -> str | None:
    """The text of an option, which is a text, a number, or an object that has the text beside its letter."""
    if not isinstance(one, dict):
        return None if one is None else text_of(one)
    texts = [text_of(value) for key, value in one.items() if key.lower() not in OPTION_KEYS]
    if len(texts) != 1:
        raise ValueError(f"an option is a text, or an object with a letter and a text, not one with {', '.join(one)}")
    return texts[0]


def _documents(description: TaskFile, lines: Sequence[Line], problems: list[str]) -> Iterator[tuple[Line, Any]]:
    """Each document with the cells of its target: a row, or the rows of one text with a span each."""
    columns = description.columns
    if len(columns.target) == 1:
        yield from ((line, targets.native(line.cells.get(columns.target[0]))) for line in lines)
        return
    grouped: dict[str, tuple[Line, list[list[Any]]]] = {}
    for line in lines:
        key = text_of(line.cells.get(columns.id or columns.input[0]))
        text = text_of(line.cells.get(columns.input[0]))
        first, spans = grouped.setdefault(key, (line, []))
        start, end, *kind = (line.cells.get(name) for name in columns.target)
        if first.cells.get(columns.input[0]) != line.cells.get(columns.input[0]):
            problems.append(f"{line.where}: its text is not that of {first.where}, which has the same {columns.id}")
        elif start is not None or end is not None:
            try:
                spans.append(targets.span(kind[0] if kind else None, start, end, text))
            except ValueError as error:
                problems.append(f"{line.where}: {error}")
    yield from grouped.values()


def _example(description: TaskFile, line: Line, cell: Any, number: int) -> Example:
    columns, kind = description.columns, description.kind
    assert kind is not None
    inputs = {field_of(name): _shown(line.cells.get(name)) for name in columns.input}
    choices = choices_in(columns, line) if kind is Kind.CHOICE else ()
    if kind is Kind.SPANS:
        inputs, target = _spans(description, inputs, cell)
    elif cell is None and kind is not Kind.LABELS:
        raise ValueError(f"{columns.target[0]} is empty")
    else:
        target = _target(description, kind, cell, choices)
    if not any(text.strip() for text in inputs.values()):
        raise ValueError(f"{' and '.join(columns.input) or columns.target[0]} is empty")
    metadata = {name: _shown(line.cells.get(name)) for name in (*columns.breakdowns, columns.cluster) if name}
    if columns.id:
        ident = _shown(line.cells.get(columns.id)).strip()
        if not ident:
            raise ValueError(f"{columns.id} is empty")
    else:
        # The row alone would name another document once a row is inserted before it.
        content = "\0".join([*inputs.values(), *choices])
        ident = f"{number}-{blake2b(content.encode('utf-8', 'surrogatepass'), digest_size=3).hexdigest()}"
    return Example(id=ident, inputs=inputs, target=target, choices=choices, metadata=metadata)


def _shown(cell: Any) -> str:
    """An input as a prompt shows it: text as it is, a list one item a line."""
    if cell is None:
        return ""
    return "\n".join(text_of(one) for one in cell) if isinstance(cell, list) else text_of(cell)


def _target(description: TaskFile, kind: Kind, cell: Any, choices: Sequence[str]) -> Any:
    if kind is Kind.LABEL:
        return targets.one_label(cell, description.labels, description.aliases)
    if kind is Kind.LABELS:
        return targets.label_set(cell, description.labels, description.aliases)
    if kind is Kind.CHOICE:
        return targets.choice(cell, choices, description.first_option or 0)
    if kind is Kind.ANSWER:
        return targets.accepted(cell)
    return targets.ranked_names(cell) if kind is Kind.RANKED else text_of(cell)


def _spans(description: TaskFile, inputs: dict[str, str], cell: Any) -> tuple[dict[str, str], list[list[Any]]]:
    """The inputs, and the spans in the first of them."""
    marked = isinstance(cell, str) and (not inputs or MARKED.search(cell) is not None)
    if not marked and isinstance(cell, str) and cell in inputs.values():
        return inputs, []
    text = next(iter(inputs.values()), "")
    if marked:
        unmarked, target = targets.marked_spans(cell, description.labels)
        if strange := [name for name in types_in(cell) if name.lower() not in {t.lower() for t in description.labels}]:
            raise ValueError(
                f"a mark of the type {targets.quoted(strange[0])}, which is none of {', '.join(description.labels)}"
            )
        if len(target) < len(types_in(cell)) or len(_OPENED.findall(cell)) > len(target):
            raise ValueError("a mark is not closed, or is around nothing")
        if inputs and unmarked != text and text != cell:
            raise ValueError(
                f"{description.columns.target[0]} without its marks is not the text of {description.columns.input[0]}"
            )
        inputs = {**(inputs or {WHOLE_TEXT: unmarked}), next(iter(inputs), WHOLE_TEXT): unmarked}
    else:
        target = targets.listed_spans(cell, text)
    if strange := [kind for kind, *_ in target if kind not in description.labels]:
        raise ValueError(f"{targets.quoted(strange[0])} is none of the types {', '.join(description.labels)}")
    return inputs, target

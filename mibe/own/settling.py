"""From a task file and its tables to the task as it is: every field filled in, every row an example or a problem.

What is not said is found in the columns, once: the settled description is kept in the run record, and gives the same
task again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any

from mibe.errors import DataError, UsageError
from mibe.own import targets
from mibe.own.description import Columns, TaskFile, slug
from mibe.own.kinds import MARKED, Kind, guess, parts, text_of
from mibe.own.tables import Line, Table, read_tables, split_name
from mibe.task import Example, letter

_SPLIT = re.compile(r"\w[\w-]{0,63}")
_FIELD = re.compile(r"[{}\[\].:!]")
_CLASSES = re.compile(
    r"<span\b[^<>]*?class\s*=\s*[\"']?([^\"'<>]+?)[\"']?\s*>|<([A-Za-z][\w-]{0,30})>(?=[^<]*</\2>)", re.I
)
_OPENED = re.compile(r"<(?!/)[^<>]+>")
WHOLE_TEXT = "text"
"""The field of a marked text, where no column has it without marks."""


@dataclass(frozen=True)
class Settled:
    """A description with nothing left open, and its examples.

    `guessed`: whether the kind of the answers is a guess. `notes` are what a user should know, a line each.
    """

    description: TaskFile
    splits: Mapping[str, Sequence[Example]]
    guessed: bool
    notes: tuple[str, ...]


def settle(description: TaskFile, folder: Path) -> Settled:
    """Read the files, which lie in `folder`, and settle what is open.

    Raises
    ------
    DataError
        For a file that cannot be read; and for rows that are no examples, all of them, each with its line.
    UsageError
        For columns that are not there, all of them, with the nearest names; for what cannot be guessed.
    """
    tables = _tables(description, folder)
    columns = _columns(description, tables)
    description = description.model_copy(update={"columns": columns})
    tables = _by_split(tables, columns.split)
    if strange := [split for split in tables if not _SPLIT.fullmatch(split)]:
        raise UsageError(f"{strange[0]!r} cannot be the name of a split; use letters, digits, '_' and '-'")
    guessed = description.kind is None
    lines = [line for table in tables.values() for line in table.lines]
    description = _with_kind(description, lines)
    splits, problems = {}, []
    for split, table in tables.items():
        where = f"{table.path.name}, " if len({t.path for t in tables.values()}) > 1 else ""
        splits[split], wrong = _examples(description, table.lines)
        problems += [where + problem for problem in sorted([*table.problems, *wrong], key=_number)]
    if problems:
        number = "1 row cannot be used" if len(problems) == 1 else f"{len(problems):,} rows cannot be used"
        name = next(iter(tables.values())).path.name if len(tables) == 1 else description.name
        raise DataError("\n".join([f"{name}: {number}; correct the data:", *(f"  {each}" for each in problems)]))
    description = _with_answers(description, splits)
    return Settled(description, splits, guessed, tuple(_notes(description, splits)))


def _number(problem: str) -> int:
    """The number of the line or row that a problem begins with."""
    return int(found[0]) if (found := re.search(r"\d+", problem)) else 0


def field_of(column: str) -> str:
    """The name of a column as a field of a prompt: what a format string would take for its own is an underscore."""
    return _FIELD.sub("_", column)


def _tables(description: TaskFile, folder: Path) -> dict[str, Table]:
    if not description.files:
        raise UsageError('the task file names no data; say files = "notes.csv", or test and train under [files]')
    found: dict[str, Table] = {}
    for split, name in description.files.items():
        path = folder / Path(name).expanduser()
        tables = read_tables(path, description.reading)
        if len(description.files) > 1:
            if len(tables) > 1:
                raise UsageError(
                    f"{path} holds the splits {', '.join(tables)}; name it alone, or one file for each split"
                )
            tables = {split_name(split): next(iter(tables.values()))}
        found |= tables
    return found


def _columns(description: TaskFile, tables: Mapping[str, Table]) -> Columns:
    """The columns that are used, each of which is there. Raises `UsageError` with all that are not."""
    given = description.columns
    here = list(dict.fromkeys(name for table in tables.values() for name in table.columns))
    file = next(iter(tables.values())).path.name
    if not given.target or not (given.input or description.kind in (None, Kind.SPANS)):
        open_ = " and ".join(
            what for what, is_given in (("input", given.input), ("target", given.target)) if not is_given
        )
        raise UsageError(f"name the columns of {file}: {open_} (--input, --target); it has {', '.join(here)}")
    ident = given.id
    if ident is None and (named := [name for name in here if name.lower() == "id"]):
        cells = [text_of(line.cells.get(named[0])) for table in tables.values() for line in table.lines]
        ident = named[0] if len(set(cells)) == len(cells) and "None" not in cells else None
    single = [name for name in (given.id, given.cluster, given.split) if name]
    wanted = [*given.input, *given.target, *given.choices, *given.breakdowns, *single]
    wrong = [_missing(name, file, here) for name in dict.fromkeys(wanted) if name not in here]
    if wrong:
        raise UsageError("\n".join(wrong))
    if both := set(given.target) & set(given.input) - ({given.target[0]} if description.kind is Kind.SPANS else set()):
        raise UsageError(f"{both.pop()!r} is the target and an input: the model would read the answer")
    return given.model_copy(update={"id": ident})


def _missing(name: str, file: str, here: Sequence[str]) -> str:
    by_fold = {column.lower(): column for column in here}
    close = [by_fold[fold] for fold in get_close_matches(name.lower(), list(by_fold), n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return (
        f"{file} has no column {name!r}; {hint}It has {', '.join(here)}"
        if hint
        else (f"{file} has no column {name!r}; it has {', '.join(here)}")
    )


def _by_split(tables: Mapping[str, Table], column: str | None) -> dict[str, Table]:
    """The rows of all tables by what a column says of their split."""
    if column is None:
        return dict(tables)
    found: dict[str, list[Line]] = {}
    problems: list[str] = []
    for table in tables.values():
        problems += table.problems
        for line in table.lines:
            value = line.cells.get(column)
            if value is None:
                problems.append(f"{line.where}: {column} is empty")
            else:
                found.setdefault(split_name(text_of(value).strip()), []).append(line)
    first = next(iter(tables.values()))
    splits = {split: replace(first, lines=tuple(lines), problems=()) for split, lines in found.items()}
    # Rows without a split are no split's: they are told with the first one's.
    return {
        split: replace(table, problems=tuple(problems) if not n else ())
        for n, (split, table) in enumerate(splits.items())
    }


def _with_kind(description: TaskFile, lines: Sequence[Line]) -> TaskFile:
    """With the kind of the answers, their labels, and whether numbers of options count from 0 or 1."""
    columns = description.columns
    cells = [targets.native(line.cells.get(columns.target[0])) for line in lines]
    kind = description.kind or guess(
        cells, labels=description.labels, has_choices=bool(columns.choices), columns=len(columns.target)
    )
    if len(columns.target) > 1 and kind is not Kind.SPANS:
        raise UsageError(
            f"--target names {len(columns.target)} columns; only spans have more than one (start, end, type)"
        )
    if kind is Kind.CHOICE and not columns.choices:
        raise UsageError("name the columns of the options: --choices A,B,C,D, or one column that holds a list")
    if not columns.input and not (kind is Kind.SPANS and len(columns.target) == 1):
        raise UsageError("name the columns that the model reads: --input")
    if kind is Kind.CHOICE and description.labels and not all(re.fullmatch("[A-Z]", one) for one in description.labels):
        raise UsageError("the answers are the letters of the options; leave out the labels, or the choices")
    found = description.labels or _labels(kind, description, cells, lines)
    update: dict[str, Any] = {"kind": kind, "labels": tuple(dict.fromkeys(found))}
    if kind is Kind.CHOICE and description.first_option is None:
        update["first_option"] = _first_option(columns, lines)
    if strange := {label for label in description.aliases.values() if label not in update["labels"]}:
        raise UsageError(f"aliases stand for labels, and {', '.join(sorted(strange))} is none of them")
    return description.model_copy(update=update)


def _labels(kind: Kind, description: TaskFile, cells: Sequence[Any], lines: Sequence[Line]) -> list[str]:
    """The labels that the target column has, sorted, so that another order of the rows is the same task."""
    given = [cell for cell in cells if cell is not None]
    columns, aliases = description.columns, description.aliases
    if kind is Kind.LABEL:
        names = [text_of(cell).strip() for cell in given]
    elif kind is Kind.LABELS:
        names = [name for cell in given for name in parts(cell) if name.lower() != targets.EMPTY]
    elif kind is Kind.SPANS and len(columns.target) > 1:
        spans = [line for line in lines if line.cells.get(columns.target[0]) is not None]
        types = [line.cells.get(columns.target[2]) if len(columns.target) > 2 else None for line in spans]
        names = [targets.UNTYPED if one is None else text_of(one).strip() for one in types]
    elif kind is Kind.SPANS:
        names = [name for cell in given for name in _types(cell)]
    else:
        return []
    found = {aliases.get(name, name) for name in names}
    return sorted(found, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def _types(cell: Any) -> list[str]:
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


def _first_option(columns: Columns, lines: Sequence[Line]) -> int | None:
    """From where numbers in the target count options; None where there are none."""
    counts = set()
    for line in lines:
        text = text_of(line.cells.get(columns.target[0])).strip()
        try:
            options = _choices(columns, line)
        except ValueError:
            continue
        if text.isdecimal() and text not in options:
            counts.add((int(text), len(options)))
    if not counts:
        return None
    if any(number == 0 for number, _ in counts):
        return 0
    if any(number == most for number, most in counts):
        return 1
    raise UsageError("the targets are numbers of options that could count from 0 or from 1; say --first-option 0 or 1")


def _choices(columns: Columns, line: Line) -> tuple[str, ...]:
    """The options of a row. Raises ValueError where it has fewer than two, or one is missing between others."""
    if len(columns.choices) > 1:
        texts = [None if (cell := line.cells.get(name)) is None else text_of(cell) for name in columns.choices]
    else:
        cell = targets.native(line.cells.get(columns.choices[0]))
        if isinstance(cell, dict):
            # {"A": "…", "B": "…"} as in MedQA, or {"label": […], "text": […]} as in ARC.
            cell = cell["text"] if isinstance(cell.get("text"), list) else list(cell.values())
        texts = list(parts(cell)) if cell is not None else []
    while texts and texts[-1] is None:
        texts.pop()
    found = tuple(text for text in texts if text)
    if len(found) < 2 or len(found) < len(texts):
        raise ValueError(
            "fewer than two options" if len(found) < 2 else "an option is empty before others that are not"
        )
    return found


def _examples(description: TaskFile, lines: Sequence[Line]) -> tuple[list[Example], list[str]]:
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
    choices = _choices(columns, line) if kind is Kind.CHOICE else ()
    if kind is Kind.SPANS:
        inputs, target = _spans(description, inputs, cell)
    elif cell is None and kind is not Kind.LABELS:
        raise ValueError(f"{columns.target[0]} is empty")
    else:
        target = _target(description, kind, cell, choices)
    if not any(text.strip() for text in inputs.values()):
        raise ValueError(f"{' and '.join(columns.input) or columns.target[0]} is empty")
    metadata = {name: text_of(line.cells.get(name) or "") for name in (*columns.breakdowns, columns.cluster) if name}
    if columns.id:
        ident = text_of(line.cells.get(columns.id) or "").strip()
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
        if strange := [name for name in _types(cell) if name.lower() not in {t.lower() for t in description.labels}]:
            raise ValueError(
                f"a mark of the type {targets.quoted(strange[0])}, which is none of {', '.join(description.labels)}"
            )
        if len(target) < len(_types(cell)) or len(_OPENED.findall(cell)) > len(target):
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


def _with_answers(description: TaskFile, splits: Mapping[str, Sequence[Example]]) -> TaskFile:
    """With what the answers themselves say: how many labels they have, how many options questions have."""
    examples = [example for split in splits.values() for example in split]
    if description.kind is Kind.LABELS and description.most_labels is None:
        # All labels at once are the prompt repeated, unless they are the answer to some row.
        most = max((len(example.target) for example in examples), default=0)
        return description.model_copy(update={"most_labels": max(1, most, len(description.labels) - 1)})
    if description.kind is Kind.CHOICE and not description.labels:
        most = max((len(example.choices) for example in examples), default=2)
        return description.model_copy(update={"labels": tuple(letter(i) for i in range(most))})
    return description


def _notes(description: TaskFile, splits: Mapping[str, Sequence[Example]]) -> Iterator[str]:
    if description.kind in (Kind.LABEL, Kind.LABELS) and "test" in splits:
        given = {name for e in splits["test"] for name in ([e.target] if isinstance(e.target, str) else e.target)}
        if unused := [label for label in description.labels if label not in given]:
            yield f"no row of test has the label {' or '.join(unused)}: it counts as 0 in macro_f1"
    if description.kind is Kind.SPANS:
        examples = (example for split in splits.values() for example in split)
        if crossing := sum(targets.crossing(e.target, next(iter(e.inputs.values()))) for e in examples):
            rows = "row has" if crossing == 1 else "rows have"
            yield f"{crossing:,} {rows} spans that cross, which no model can mark"


def default_name(path: Path) -> str:
    """The name of a task whose data is at `path`."""
    return slug(path.name.removesuffix(".gz").rsplit(".", 1)[0])

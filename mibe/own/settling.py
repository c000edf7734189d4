"""From a task file and its tables to the task as it is: every field filled in, every row an example or a problem.

What is not said is found in the columns, once: the settled description is kept in the run record, and gives the same
task again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mibe.errors import DataError, UsageError
from mibe.own import targets
from mibe.own.description import Columns, TaskFile, slug
from mibe.own.kinds import Kind, guess, parts, text_of
from mibe.own.rows import choices_in, examples_of, field_of, types_in
from mibe.own.tables import Line, Table, read_tables, split_name
from mibe.task import Example, letter

_SPLIT = re.compile(r"\w[\w-]{0,63}")


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
        splits[split], wrong = examples_of(description, table.lines)
        problems += [where + problem for problem in sorted([*table.problems, *wrong], key=_number)]
    if problems:
        number = "1 row cannot be used" if len(problems) == 1 else f"{len(problems):,} rows cannot be used"
        name = next(iter(tables.values())).path.name if len(tables) == 1 else description.name
        raise DataError(f"{name}: {number}; correct the data:", lines=problems)
    description = _with_answers(description, splits)
    unused = [] if description.kind is Kind.SPANS else _unused_ids(columns, tables)
    return Settled(description, splits, guessed, (*unused, *_notes(description, splits)))


def _number(problem: str) -> int:
    """The number of the line or row that a problem begins with."""
    return int(found[0]) if (found := re.search(r"\d+", problem)) else 0


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
    if ident is None and (named := _id_column(here)):
        names = _cells(named, tables)
        ident = named if len(set(names)) == len(names) and None not in names else None
    single = [name for name in (given.id, given.cluster, given.split) if name]
    wanted = [*given.input, *given.target, *given.choices, *given.breakdowns, *single]
    if wrong := [_nearest(name, here) for name in dict.fromkeys(wanted) if name not in here]:
        if len(wrong) == 1:
            raise UsageError(f"{file} has no column {wrong[0]}; it has {', '.join(here)}")
        raise UsageError(f"{file} has {', '.join(here)}; these columns are not there:", lines=wrong)
    if len({field_of(name) for name in given.input}) < len(given.input):
        raise UsageError(
            f"the inputs {', '.join(given.input)} differ only in marks that a prompt cannot name; rename one"
        )
    if both := set(given.target) & set(given.input) - ({given.target[0]} if description.kind is Kind.SPANS else set()):
        raise UsageError(f"{both.pop()!r} is the target and an input: the model would read the answer")
    return given.model_copy(update={"id": ident})


def _id_column(here: Iterable[str]) -> str | None:
    return next((name for name in here if name.lower() == "id"), None)


def _cells(column: str, tables: Mapping[str, Table]) -> list[str | None]:
    cells = (line.cells.get(column) for table in tables.values() for line in table.lines)
    return [None if cell is None else text_of(cell) for cell in cells]


def _unused_ids(columns: Columns, tables: Mapping[str, Table]) -> Iterator[str]:
    """Why a column that is called id does not name the rows, where nobody said what does."""
    named = _id_column(name for table in tables.values() for name in table.columns)
    if columns.id is not None or named is None:
        return
    repeated, count = Counter(_cells(named, tables)).most_common(1)[0]
    why = f"{repeated!r} stands in {count:,} rows" if repeated is not None and count > 1 else "some rows have none"
    yield f"the column {named!r} does not name the rows ({why}); they are named by number and text"


def _nearest(name: str, here: Sequence[str]) -> str:
    """A column that is not there, with those that it may mean."""
    by_fold = {column.lower(): column for column in here}
    close = [by_fold[fold] for fold in get_close_matches(name.lower(), list(by_fold), n=3, cutoff=0.5)]
    return f"{name!r} (did you mean {' or '.join(map(repr, close))}?)" if close else repr(name)


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
        names = [name for cell in given for name in types_in(cell)]
    else:
        return []
    found = {aliases.get(name, name) for name in names}
    return sorted(found, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def _first_option(columns: Columns, lines: Sequence[Line]) -> int | None:
    """From where numbers in the target count options; None where there are none."""
    counts = set()
    for line in lines:
        text = text_of(line.cells.get(columns.target[0])).strip()
        try:
            options = choices_in(columns, line)
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

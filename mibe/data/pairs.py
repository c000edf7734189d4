"""Files of pairs: one row a question, one column a version of it (AMQA's form, EquityMedQA's counterfactual pairs).

AMQA (Xiao et al. 2025) has the versions of a question, or a model's answers to them, in columns that end in "white"
and "black", "high_income" and "low_income", "male" and "female". EquityMedQA (Pfohl et al. 2024) has the two questions
of a counterfactual pair in a line.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mibe.data.jsonlines import read_json_lines
from mibe.errors import DataError, UsageError
from mibe.task import AccessLevel, letter

ENDINGS = {
    "race": ("white", "black"),
    "income": ("high_income", "low_income"),
    "sex": ("male", "female"),
    "baseline": ("original_question", "desensitized_question"),
}
"""Attribute → how the columns of its values end in AMQA's files; its baseline takes the attributes out of the text."""
BASELINE = "baseline"
IDS = ("question_id", "id")
TARGETS = ("answer_idx", "target", "answer")


@dataclass(frozen=True)
class PairFile:
    """The rows of a file. `columns` is attribute → value → column; `target` the column of the right answer, if any.

    `options` are those of each row's question, () where it has none. `name` is what its user calls it who lets its text
    leave this machine, and `access` says who may see that.
    """

    name: str
    access: AccessLevel
    rows: Sequence[Mapping[str, str]]
    columns: Mapping[str, Mapping[str, str]]
    target: str | None
    ids: Sequence[str]
    options: Sequence[tuple[str, ...]]

    def cells(self, attribute: str) -> dict[str, dict[str, str]]:
        """Id → value of the attribute → text, of the rows that have them all."""
        own = self.columns[attribute]
        found = {
            ident: {value: row[column] for value, column in own.items() if row.get(column, "").strip()}
            for ident, row in zip(self.ids, self.rows, strict=True)
        }
        return {ident: cells for ident, cells in found.items() if len(cells) == len(own)}


def read_pairs(
    path: Path,
    given: Sequence[str] = (),
    *,
    target: str | None = None,
    access: AccessLevel = AccessLevel.CREDENTIALED,
) -> PairFile:
    """The file, JSON lines or CSV; `given` are its attributes as "race=COLUMN:COLUMN", where its columns do not say so.

    Raises `DataError` for a file that is none, and `UsageError` where columns are missing or cannot be told.
    """
    items = _csv(path) if path.suffix.lower() in {".csv", ".tsv"} else [item for _, item in read_json_lines(path)]
    if not items:
        raise DataError(f"{path} holds no rows")
    rows = [_texts(item) for item in items]
    known = list(dict.fromkeys(name for row in rows for name in row))
    attributes = list(map(_given, given))
    columns = dict(attributes) if given else _told(path, known)
    if len(columns) < len(attributes):
        twice = next(name for name in columns if [each for each, _ in attributes].count(name) > 1)
        raise UsageError(f"--pair {twice} stands twice; name all columns of an attribute in one, as {twice}=A:B:C")
    if not columns:
        raise UsageError(
            f"{path}: which columns are the versions? Say it by --pair ATTRIBUTE=COLUMN:COLUMN; the columns are "
            f"{', '.join(known)}"
        )
    right = target or next((name for name in TARGETS if name in known), None)
    wanted = [*(name for own in columns.values() for name in own.values()), *([right] if right else [])]
    if strange := [name for name in wanted if name not in known]:
        raise UsageError(f"{path} has no column {strange[0]!r}; it has {', '.join(known)}")
    named = next((name for name in IDS if name in known), None)
    ids = [row[named] if named else str(number) for number, row in enumerate(rows)]
    if len(set(ids)) < len(ids):
        raise DataError(f"{path}: two rows have one {named}; a row is a question")
    options = [_options(path, item.get("options")) for item in items]
    return PairFile(path.stem, access, rows, columns, right, ids, options)


def _given(text: str) -> tuple[str, dict[str, str]]:
    """An attribute from "race=white_answer:black_answer": its values are called as their columns."""
    name, _, columns = text.partition("=")
    values = columns.split(":")
    if not name or len(values) < 2 or not all(values) or len(set(values)) < len(values):
        raise UsageError(f"--pair {text} is not ATTRIBUTE=COLUMN:COLUMN")
    return name, {value: value for value in values}


def _told(path: Path, known: Sequence[str]) -> dict[str, dict[str, str]]:
    """The attributes that the columns' names tell; two columns alone are a pair.

    Raises `UsageError` where a value has several columns.
    """
    found = {}
    for attribute, endings in ENDINGS.items():
        own = {ending: [name for name in known if _ends(name, ending)] for ending in endings}
        if not all(own.values()):
            continue
        if several := next((names for names in own.values() if len(names) > 1), None):
            raise UsageError(
                f"{path}: {' and '.join(several)} are columns of one value; say by --pair {attribute}=COLUMN:COLUMN "
                "which are compared"
            )
        found[attribute] = {ending: names[0] for ending, names in own.items()}
    texts = [name for name in known if name not in (*IDS, *TARGETS)]
    if not found and len(texts) == 2:
        return {"pair": {name: name for name in texts}}
    return {name: own for name, own in found.items() if name != BASELINE or len(found) > 1}


def _ends(name: str, ending: str) -> bool:
    """Whether a column is of this value: "female" is no "male"."""
    return name == ending or name.endswith(f"_{ending}")


def _texts(item: Mapping[str, Any]) -> dict[str, str]:
    """The texts and numbers of a row; other values, such as options, are no versions."""
    return {name: str(value) for name, value in item.items() if isinstance(value, str | int | float)}


def _options(path: Path, given: Any) -> tuple[str, ...]:
    """The texts of options given as a list, or by their letters as MedQA and AMQA have them."""
    if given is None or isinstance(given, str):
        return ()
    if isinstance(given, dict):
        letters = [letter(number) for number in range(len(given))]
        given = [given[name] for name in letters] if sorted(given) == letters else None
    if not isinstance(given, list) or len(given) < 2 or not all(isinstance(each, str) for each in given):
        raise DataError(f"{path}: options are a list of texts, or texts by their letters from A")
    return tuple(given)


def _csv(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            names = list(reader.fieldnames or ())
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise DataError(f"{path}: two columns are called {twice!r}; rename one of them")
            rows = [dict(row) for row in reader]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except csv.Error as error:
        raise DataError(f"{path}: not a table ({error}); the first row names the columns") from None
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise DataError(f"{path}, row {number}: it has not as many cells as the first")
    return rows

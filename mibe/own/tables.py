"""Tables of others as rows of named cells, each with the line where it stands; what cannot be read is a problem."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mibe.data.disk import open_plain
from mibe.data.parsing import parse_json
from mibe.errors import DataError, UsageError

TEXT = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json")
FORMATS = (*TEXT, ".parquet", ".xlsx", ".xlsm")
DELIMITERS = (",", ";", "\t", "|")
SPLITS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
"""Names that others give to splits, in lower case."""

_PIECE = re.compile(r"-\d{5}-of-\d{5}(?:-[0-9a-f]+)?$")
"""How hubs end the name of a split that lies in pieces: test-00000-of-00002."""

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True, slots=True)
class Line:
    """One row: where it stands ("line 4"), and its cells by column. An empty cell is None."""

    where: str
    cells: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A file's columns and rows; `problems` are the rows that are none, each with its line."""

    path: Path
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """How text files and workbooks are read, where the file does not show it itself.

    `delimiter` None: the one of `DELIMITERS` that parts the header into most columns; `encoding` None: UTF-8, or what a
    byte order mark says; `sheet` None: the first one.
    """

    delimiter: str | None = None
    encoding: str | None = None
    sheet: str | None = None


def read_tables(path: Path, reading: Reading) -> dict[str, Table]:
    """Split → table. One file is the test split; a folder has a file, or a split saved by `datasets`, for each.

    A copy of a hub's repository has its files in the folder `data`, and a split there in one piece or in several.

    Raises `DataError` for what cannot be read at all, and `UsageError` for a format that is not known.
    """
    if not path.is_dir():
        return {"test": read_table(path, reading)}
    if any((path / name).exists() for name in ("dataset_dict.json", "state.json")):
        return _saved_datasets(path)
    found = _files(path) or _files(path / "data")
    named: dict[str, list[Path]] = {}
    for file in found:
        named.setdefault(split_name(_PIECE.sub("", _stem(file))), []).append(file)
    if not found or any(len(files) > 1 and not all(_PIECE.search(_stem(p)) for p in files) for files in named.values()):
        raise DataError(
            f"{path} is neither a folder saved by datasets nor one with a file for each split (train.csv, test.csv, …)"
        )
    return {split: _joined(path, [read_table(file, reading) for file in files]) for split, files in named.items()}


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and _suffix(p) in FORMATS]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def _joined(folder: Path, pieces: Sequence[Table]) -> Table:
    """The rows of all pieces of a split, each with its file. Raises `DataError` where columns differ."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    if other := next((piece for piece in pieces if piece.columns != first.columns), None):
        raise DataError(f"{other.path} has other columns than {first.path.name}; pieces of one split have the same")
    lines = [Line(f"{piece.path.name}, {line.where}", line.cells) for piece in pieces for line in piece.lines]
    problems = [f"{piece.path.name}, {problem}" for piece in pieces for problem in piece.problems]
    return Table(folder, first.columns, tuple(lines), tuple(problems))


def split_name(name: str) -> str:
    """The name that mibe has for a split of others ("validation" → "valid")."""
    return SPLITS.get(name.lower(), name)


def read_table(path: Path, reading: Reading) -> Table:
    """The table in one file, by the end of its name; raises as `read_tables` does."""
    reader = _READERS.get(_suffix(path))
    if reader is None:
        raise UsageError(f"{path}: its format is not known; give a file that ends in {', '.join(FORMATS)}")
    try:
        table = reader(path, reading)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except (EOFError, zlib.error):
        raise DataError(f"{path} is damaged (not a whole gzip file)") from None
    if twice := [name for name, count in Counter(table.columns).items() if count > 1]:
        raise DataError(f"{path}: two columns are named {twice[0]!r}; rename one of them")
    if not table.lines and not table.problems:
        raise DataError(f"{path} has no rows")
    return table


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _text(path: Path, encoding: str | None) -> str:
    """The text of a file, packed or not, without a byte order mark."""
    with open_plain(path) as stream:
        content = stream.read()
    if path.suffix.lower() == ".gz":
        content = gzip.decompress(content)
    marked = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding or marked)
    except LookupError:
        raise UsageError(f"unknown encoding {encoding!r}; Python's names are known, such as cp1252 or utf-16") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        advice = "give its --encoding (cp1252 where Excel on Windows saved it), or save it as UTF-8"
        raise DataError(f"{path}, line {line}: not {encoding or marked}; {advice}") from None


def _csv(path: Path, reading: Reading) -> Table:
    text = _text(path, reading.encoding)
    # The standard library refuses a cell of more than 131,072 characters unless it is told otherwise.
    csv.field_size_limit(sys.maxsize)
    delimiter = reading.delimiter or ("\t" if _suffix(path) in (".tsv", ".tab") else _delimiter(text))
    # With `strict` a quote that is never closed is an error, where it would else swallow the rest of the file.
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    lines: list[Line] = []
    problems: list[str] = []
    end = 0
    while True:
        start = end + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            problems.append(f"line {start}: {_quoting(error)}")
            end = rows.line_num
            continue
        end = rows.line_num
        if row is None:
            return Table(path, tuple(name for name in header if name), tuple(lines), tuple(problems))
        if not any(cell.strip() for cell in row):
            continue
        if not header:
            header = [cell.strip() for cell in row]
        elif len(row) != len(header):
            problems.append(f"line {start}: {len(row)} cells where the header has {len(header)}")
        else:
            cells = {name: cell if cell.strip() else None for name, cell in zip(header, row, strict=True) if name}
            lines.append(Line(f"line {start}", cells))


def _quoting(error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return "a quote is opened here and never closed"
    return "a quoted cell goes on after its closing quote; quotes inside a cell are written twice"


def _delimiter(text: str) -> str:
    """The mark that parts the header into most columns; the comma where none does."""
    widths = {mark: len(_first_row(text, mark)) for mark in DELIMITERS}
    return max(DELIMITERS, key=lambda mark: widths[mark])


def _first_row(text: str, delimiter: str) -> Sequence[str]:
    return next((row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row), ())


def _json_lines(path: Path, reading: Reading) -> Table:
    # Only LF and CRLF end a line: a JSON text may hold other marks that Python takes for line ends.
    lines = _text(path, reading.encoding).split("\n")
    return _of_json(path, ((f"line {n}", line) for n, line in enumerate(lines, 1) if line.strip()))


def _json(path: Path, reading: Reading) -> Table:
    text = _text(path, reading.encoding)
    try:
        content = parse_json(text)
    except json.JSONDecodeError as error:
        if text.lstrip().startswith("{"):
            return _json_lines(path, reading)
        raise DataError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from None
    if isinstance(content, dict) and len(lists := [v for v in content.values() if isinstance(v, list)]) == 1:
        content = lists[0]
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a list of objects, one for each row")
    return _of_objects(path, ((f"row {n}", row) for n, row in enumerate(content, 1)))


def _of_json(path: Path, lines: Iterable[tuple[str, str]]) -> Table:
    def objects() -> Iterator[tuple[str, Any]]:
        for where, line in lines:
            try:
                yield where, parse_json(line)
            except json.JSONDecodeError as error:
                yield where, error

    return _of_objects(path, objects())


def _of_objects(path: Path, objects: Iterable[tuple[str, Any]]) -> Table:
    columns: dict[str, None] = {}
    lines, problems = [], []
    for where, row in objects:
        if isinstance(row, json.JSONDecodeError):
            problems.append(f"{where}: not JSON ({row.msg} at column {row.colno})")
        elif not isinstance(row, dict):
            problems.append(f'{where}: expected a JSON object, such as {{"note": "…"}}')
        else:
            columns |= dict.fromkeys(row)
            lines.append(Line(where, {name: _cell(value) for name, value in row.items()}))
    return Table(path, tuple(columns), tuple(lines), tuple(problems))


def _cell(value: Any) -> Any:
    """The value, None where it is empty text."""
    return None if isinstance(value, str) and not value.strip() else value


def _parquet(path: Path, reading: Reading) -> Table:
    pyarrow = _needs("pyarrow", path)
    from pyarrow import parquet

    try:
        with open_plain(path) as stream:
            table = parquet.read_table(stream)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{path} is no Parquet file ({str(error).splitlines()[0]})") from None
    return _of_records(path, table.column_names, table.to_pylist())


def _of_records(path: Path, columns: Sequence[str], records: Iterable[Mapping[str, Any]]) -> Table:
    lines = (
        Line(f"row {n}", {name: _cell(value) for name, value in row.items()}) for n, row in enumerate(records, start=1)
    )
    return Table(path, tuple(columns), tuple(lines))


def _xlsx(path: Path, reading: Reading) -> Table:
    openpyxl = _needs("openpyxl", path)
    from zipfile import BadZipFile

    try:
        # What formulas gave when the workbook was saved, not the formulas.
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (BadZipFile, KeyError, openpyxl.utils.exceptions.InvalidFileException):
        raise DataError(f"{path} is no Excel workbook; save it as .xlsx or .csv") from None
    try:
        if reading.sheet is not None and reading.sheet not in book.sheetnames:
            raise UsageError(f"{path} has no sheet {reading.sheet!r}; it has {', '.join(book.sheetnames)}")
        sheet = book[reading.sheet or book.sheetnames[0]]
        header: list[str] = []
        lines = []
        for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
            if all(_cell(value) is None for value in row):
                continue
            if not header:
                header = ["" if value is None else str(value).strip() for value in row]
                continue
            cells = {name: _cell(value) for name, value in zip(header, row, strict=False) if name}
            lines.append(Line(f"row {number}", cells))
    finally:
        book.close()
    return Table(path, tuple(name for name in header if name), tuple(lines))


def _saved_datasets(path: Path) -> dict[str, Table]:
    """The splits of a folder that `datasets` saved; the numbers of a ClassLabel become its names."""
    datasets = _needs("datasets", path)
    try:
        found = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no folder that datasets can load ({str(error).splitlines()[0]})") from None
    splits = found if isinstance(found, datasets.DatasetDict) else {"test": found}
    return {split_name(split): _of_dataset(path, dataset) for split, dataset in splits.items()}


def _of_dataset(path: Path, dataset: Any) -> Table:
    names: dict[str, Callable[[Any], Any]] = {
        name: feature.int2str for name, feature in dataset.features.items() if hasattr(feature, "int2str")
    }
    table = _of_records(path, dataset.column_names, dataset)
    if not names:
        return table
    named = (
        {
            name: names[name](v) if name in names and isinstance(v, int) and v >= 0 else v
            for name, v in line.cells.items()
        }
        for line in table.lines
    )
    return replace(table, lines=tuple(Line(old.where, cells) for old, cells in zip(table.lines, named, strict=True)))


def _needs(package: str, path: Path) -> Any:
    """A package that some formats need, or a `DataError` that says how to get it."""
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError:
        raise DataError(
            f"reading {path.name} needs {package}, which is not installed: pip install {package}, or save it as .csv"
        ) from None


_READERS: Mapping[str, Callable[[Path, Reading], Table]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".tab": _csv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".parquet": _parquet,
    ".xlsx": _xlsx,
    ".xlsm": _xlsx,
}

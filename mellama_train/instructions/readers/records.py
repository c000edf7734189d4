"""Records of JSON, JSON lines, CSV and xlsx files, one at a time."""

from __future__ import annotations

import csv
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mellama_train.corpus.streams import numbered_lines, open_text, plain_suffix
from mellama_train.errors import DataError
from mellama_train.instructions.readers import unknown_form
from mellama_train.rows.characters import lone_surrogate

SUFFIXES = (".json", ".jsonl", ".csv", ".xlsx")
CHUNK = 1 << 20
# A record longer than this is no record but a file whose JSON is broken.
LONGEST = 1 << 26
_BETWEEN = re.compile(r"[\s,]*")


def records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, record) of each record; `place` is the file with its line, record or row, from 1."""
    match plain_suffix(path):
        case ".jsonl":
            return _json_lines(path)
        case ".json":
            return _json_array(path)
        case ".csv":
            return _csv_rows(path)
        case ".xlsx":
            return _xlsx_rows(path)
    raise unknown_form(path, ", ".join(SUFFIXES))


def keyed_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, record) of a JSON file that is one object of objects. The file is read as a whole."""
    with open_text(path) as stream:
        try:
            found = json.load(stream)
        except ValueError as error:
            raise DataError(f"{path}: not JSON ({error}); get it again") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: a list, and should be an object of records by their ids")
    for key, value in found.items():
        yield key, _record(value, f"{path}:{key}")


def text_of(value: Any, place: str, column: str) -> str:
    """A cell as text; what is missing (null, NaN) is empty. Raises `DataError` for a list or an object."""
    # NaN alone differs from itself.
    if value is None or value != value:
        return ""
    if isinstance(value, dict | list):
        raise DataError(f"{place}: {column} holds {'an object' if isinstance(value, dict) else 'a list'}, not text")
    text = str(value)
    if half := lone_surrogate(text):
        raise DataError(f"{place}: {column} holds {half}, half a character; mend the text, or take the record out")
    return text


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in numbered_lines(path):
        place = f"{path}:{number}"
        try:
            value = json.loads(line)
        except UnicodeDecodeError as error:
            raise DataError(f"{place}: not UTF-8 text ({error.reason}); convert the file with iconv") from None
        except ValueError as error:
            raise DataError(f"{place}: not JSON ({error}); mend the line or take it out") from None
        yield place, _record(value, place)


def _json_array(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The elements of a list, or of JSON lines under the wrong suffix, without the whole file in memory."""
    with open_text(path) as stream:
        buffer = stream.read(CHUNK).lstrip()
        is_array = buffer.startswith("[")
        buffer = buffer.removeprefix("[")
        number = 0
        while True:
            buffer = _skip_between(buffer, stream)
            if not buffer or (is_array and buffer.startswith("]")):
                if is_array and not buffer:
                    raise DataError(f"{path}: the list is cut short after record {number}; get the file again")
                return
            number += 1
            place = f"{path}:record {number}"
            value, end, buffer = _decode(buffer, stream, place)
            buffer = buffer[end:]
            yield place, _record(value, place)


def _skip_between(buffer: str, stream: IO[str]) -> str:
    while True:
        rest = buffer[_BETWEEN.match(buffer).end() :]  # type: ignore[union-attr]
        if rest or not (more := stream.read(CHUNK)):
            return rest
        buffer = more


def _decode(buffer: str, stream: IO[str], place: str) -> tuple[Any, int, str]:
    """(value, where it ends, the buffer it ends in): the buffer grows until it holds the whole value."""
    while True:
        try:
            value, end = json.JSONDecoder().raw_decode(buffer)
        except ValueError as error:
            more = stream.read(max(CHUNK, len(buffer))) if len(buffer) < LONGEST else ""
            if not more:
                raise DataError(f"{place}: not JSON ({error}); mend the record or get the file again") from None
            buffer += more
        else:
            return value, end, buffer


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    csv.field_size_limit(sys.maxsize)
    with open_text(path, newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            for row in reader:
                place = f"{path}:{reader.line_num}"
                if row and len(row) != len(header):
                    raise DataError(f"{place}: {len(row)} fields where the header has {len(header)}; mend the row")
                if row:
                    yield place, dict(zip(header, row, strict=True))
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: not a whole CSV table ({error}); get it again") from None


def _xlsx_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of the first sheet, under the names in its first row."""
    try:
        import openpyxl
    except ImportError:
        raise DataError(f'{path}: .xlsx needs openpyxl, of the extra train: pip install "mibe[train]"') from None
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DataError(f"{path}: no whole .xlsx file ({error}); get it again") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    try:
        rows = book.worksheets[0].iter_rows(values_only=True)
        header = [str(name).strip() if name is not None else "" for name in next(rows, ())]
        for number, row in enumerate(rows, start=2):
            if any(cell is not None for cell in row):
                yield f"{path}:{number}", dict(zip(header, row, strict=False))
    finally:
        book.close()


def _record(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{place}: not an object with named fields")
    return value

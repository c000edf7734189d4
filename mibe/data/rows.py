"""Rows that a user brings, as JSON lines or as a table of CSV or TSV: every error with its place."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from mibe.data.jsonlines import Numbered, read_json_lines
from mibe.errors import DataError

TABLES = (".csv", ".tsv")


def read_rows(path: Path) -> Iterator[Numbered]:
    """(line number, object) of each row of a table, which the name's ending says it is, or of JSON lines.

    The first line of a table names its columns; its cells are text, an empty one too, and the number of a row is that
    of the line that it begins on. Raises `DataError`, naming the line, for a file that cannot be read so.
    """
    return _table(path) if path.suffix.lower() in TABLES else read_json_lines(path)


def _table(path: Path) -> Iterator[Numbered]:
    # Of one cell, which may hold the whole of an answer with its reasoning.
    csv.field_size_limit(sys.maxsize)
    before = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = _delimiter(path, file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            names = next(reader, [])
            before = reader.line_num
            for cells in reader:
                number, before = before + 1, reader.line_num
                if not cells:
                    continue
                if len(cells) != len(names):
                    raise DataError(
                        f"{path}, line {number}: {len(cells)} cells in a table of {len(names)} columns; "
                        "a cell with commas, quotes or line breaks stands in quotes"
                    )
                yield number, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}, line {before + 1}: not a table ({error})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}; save it as CSV UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _delimiter(path: Path, header: str) -> str:
    """Spreadsheets of countries with a decimal comma part the cells of their "CSV" by semicolons."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    return ";" if ";" in header and "," not in header else ","

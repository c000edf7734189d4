"""What the readers share: checked access to JSON records, counts, and seeded splits."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mibe.data.parsing import parse_json
from mibe.data.raw import RawFiles
from mibe.data.splits import SEED, stratified_split
from mibe.errors import DataError
from mibe.task import Example

POOL = "pool"
"""A variant whose files hold a train split alone; the test split is the one that is here (`mibe.data.prepare`)."""


def json_lines(raw: RawFiles, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where a record stands ("dev.json, line 3"), and the record, for a file of one JSON object a line."""
    for number, line in raw.lines(name):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            record = parse_json(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not a JSON object on one line ({error.msg}); download the file again") from None
        if not isinstance(record, dict):
            raise DataError(f"{where}: expected a JSON object, found {type(record).__name__}; download the file again")
        yield where, record


def csv_records(name: str, text: str, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Where a record stands ("test.csv, record 3"), and its cells of these columns, for a table with a header line.

    Cells are without white space around them; those that a record lacks at its end are empty.
    """
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if missing := [column for column in columns if column not in (rows.fieldnames or ())]:
        raise DataError(f"{name}: the column {missing[0]} is missing; give the official file with its header line")
    for number, row in enumerate(rows, 1):
        yield f"{name}, record {number}", {column: (row[column] or "").strip() for column in columns}


def parquet_rows(raw: RawFiles, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same for each row of a parquet file. Raises `DataError` without pyarrow too."""
    try:
        from pyarrow import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
            ArrowException,
            BufferReader,
            parquet,
        )
    except ImportError:
        raise DataError('reading parquet files needs pyarrow: pip install "mibe[hub]"') from None
    try:
        rows = parquet.read_table(BufferReader(raw.content(name))).to_pylist()
    except ArrowException as error:
        raise DataError(f"{name} is damaged or incomplete ({error}); download it again") from None
    return ((f"{name}, row {number}", row) for number, row in enumerate(rows, 1))


def json_object(raw: RawFiles, name: str) -> dict[str, Any]:
    """The one JSON object that a file holds."""
    try:
        content = parse_json(raw.text(name))
    except json.JSONDecodeError as error:
        raise DataError(f"{name}, line {error.lineno}: not JSON ({error.msg}); download the file again") from None
    if not isinstance(content, dict):
        raise DataError(f"{name}: expected a JSON object, found {type(content).__name__}; download the file again")
    return content


def text_field(record: Mapping[str, Any], key: str, where: str) -> str:
    """A field that must hold text."""
    value = record.get(key)
    if not isinstance(value, str):
        found = "it is missing" if key not in record else f"found {value!r:.60}"
        raise DataError(f"{where}: {key} must be a text, and {found}; is this the official file?")
    return value


def list_field(record: Mapping[str, Any], key: str, where: str) -> list[str]:
    """A field that must hold a list of texts."""
    value = record.get(key)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{where}: {key} must be a list of texts, found {value!r:.60}; is this the official file?")
    return value


def expect_count(what: str, found: int, expected: int, advice: str) -> None:
    """Raise when a number is not that of the official release."""
    if found != expected:
        raise DataError(f"{what}: expected {expected:,}, found {found:,}; {advice}")


def split_examples(
    raw: RawFiles,
    examples: Sequence[Example],
    *,
    labels: Sequence[str],
    groups: Sequence[str],
    sizes: Mapping[str, int],
    by: str,
) -> dict[str, list[Example]]:
    """A seeded stratified split, and a note of it for the manifest; `by` says what it is stratified by."""
    positions = stratified_split([e.id for e in examples], labels=labels, groups=groups, sizes=sizes)
    shares = "/".join(f"{size:,} {split}" for split, size in sizes.items())
    raw.notes.append(f"split made by mibe: {shares}, stratified by {by}, equal documents together, seed {SEED}")
    return {split: [examples[i] for i in chosen] for split, chosen in positions.items()}

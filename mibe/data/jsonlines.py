"""JSON lines that a user brings: one object a line, every error with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mibe.data.parsing import parse_json
from mibe.errors import DataError

Numbered = tuple[int, dict[str, Any]]


def json_lines(lines: Iterable[str], source: str) -> Iterator[Numbered]:
    """(line number, object) of JSON lines; blank lines are skipped. Raises `DataError` naming the line."""
    for number, line in enumerate(lines, start=1):
        text = line.lstrip("\ufeff").strip()
        if not text:
            continue
        try:
            value = parse_json(text)
        except ValueError as error:
            raise DataError(f"{source}, line {number}: not JSON ({error}); each line is one object") from None
        if not isinstance(value, dict):
            raise DataError(f"{source}, line {number}: not an object but {type(value).__name__}")
        yield number, value


def read_json_lines(path: Path) -> Iterator[Numbered]:
    """The same of a file. Raises `DataError` also when it cannot be read or is not UTF-8."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            yield from json_lines(lines, str(path))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None

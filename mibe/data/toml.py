"""TOML with the line of every key: what is wrong in a file that a person wrote is told with its line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from mibe.errors import UsageError

LARGEST = 1 << 16
"""Bytes of a file that is read: a hundred times the largest that a person writes."""

Place: TypeAlias = "tuple[str | int, ...]"
"""Where a value stands: names of keys, and numbers in arrays of tables, from the top."""


def read_toml(path: Path) -> tuple[dict[str, Any], dict[Place, int]]:
    """The content of a file, and the line on which each of its keys and tables begins.

    Raises `UsageError` for a file that cannot be read or is no TOML, with the place of the mistake.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UsageError(f"{path} is larger than {LARGEST >> 10} KiB and no file of settings")
        text = content.decode("utf-8")
        return tomllib.loads(text), lines_of(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML: {error}") from None


def lines_of(text: str) -> dict[Place, int]:
    """The line, from 1, on which each key and table of a TOML text begins.

    Whatever a value looks like, it is complete on the first line up to which the text is TOML that has its key.
    """
    found: dict[Place, int] = {}
    begin = 1
    lines = text.splitlines(keepends=True)
    for number in range(1, len(lines) + 1):
        try:
            known = tomllib.loads("".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            # In the midst of a value of several lines.
            continue
        for place in _places(known):
            found.setdefault(place, begin)
        begin = number + 1
    return found


def _places(value: Any, place: Place = ()) -> Iterator[Place]:
    items: Iterator[tuple[str | int, Any]] = iter(())
    if isinstance(value, dict):
        items = iter(value.items())
    elif isinstance(value, list) and all(isinstance(each, dict) for each in value):
        items = iter(enumerate(value))
    for key, each in items:
        yield (*place, key)
        yield from _places(each, (*place, key))


def to_toml(value: object) -> str:
    """A value as it stands behind an equals sign: text, number, true or false, a list of these, or a table of them."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key_to_toml(key)} = {to_toml(each)}' for key, each in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(to_toml, value))}]"
    # What JSON writes for these is TOML too, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def key_to_toml(key: str) -> str:
    """A key as it stands before an equals sign, in quotes where it is no bare one."""
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else to_toml(key)

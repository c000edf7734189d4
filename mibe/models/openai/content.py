"""What a server sent, as JSON in which nothing odd is left: the one border that every reply and every line crosses.

A server may be broken or hostile, and its JSON is read by many hands behind this one. So it has a bounded depth,
numbers that are numbers, characters that every file can hold, and the key, which some servers repeat, is not in it:
looked for after decoding, since JSON can spell any character in several ways.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mibe.models.keys import without
from mibe.terminal.characters import sound

DEEPEST = 64
"""Lists and objects inside each other, at most; answers have five."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of any status: its body, and those headers that are read here (in lower case, none of them long).

    The body's bytes may hold the key, so they are shown nowhere; what they say is, by `json` and `text`. `seconds` are
    those from when the request was sent until the whole reply was there, `first_token` until an answer in it began,
    where it came as a stream of events.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    key: str | None = field(default=None, repr=False)
    seconds: float | None = None
    first_token: float | None = None

    def json(self) -> Any:
        """The body as JSON. Raises `ValueError` where it is none."""
        return read_json(self.content, self.key)

    def text(self) -> str:
        """The body as text."""
        return read_text(self.content, self.key)


def read_json(content: bytes | str, key: str | None = None) -> Any:
    """The value of a JSON text, without `key`; NaN and infinities are null, as they are in no JSON.

    Raises `ValueError` for what is no JSON, and for what is nested deeper than `DEEPEST`.
    """
    try:
        value = json.loads(content, parse_float=_finite, parse_constant=_nothing)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return _plain(value, key, DEEPEST)


def read_text(content: bytes, key: str | None = None) -> str:
    """A text that is no JSON, without `key`."""
    return sound(without([key or ""], content.decode("utf-8", "replace")))


def _plain(value: Any, key: str | None, levels: int) -> Any:
    if isinstance(value, str):
        return sound(without([key or ""], value))
    if not isinstance(value, dict | list):
        return value
    if not levels:
        raise ValueError("nested too deeply")
    if isinstance(value, list):
        return [_plain(item, key, levels - 1) for item in value]
    return {_plain(name, key, 0): _plain(item, key, levels - 1) for name, item in value.items()}


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _nothing(_: str) -> None:
    """What stands for NaN and Infinity."""

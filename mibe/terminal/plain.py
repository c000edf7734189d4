"""Text that somebody else chose, as it may be shown: on a terminal, in a page, in a spreadsheet."""

from __future__ import annotations

import json
import re

from mibe.terminal.characters import sound

_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, the cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, the clipboard
    r"|\x1b[ -/]*[0-~]?"
)
"""The control sequences of ECMA-48, which a terminal obeys."""

_SPACES = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
"""Control characters, and marks that turn the direction of what follows."""


def printable(text: str) -> str:
    """The text in one line, without what a terminal obeys, what turns its direction, and halves of characters."""
    if text.isprintable():
        return text
    return sound(_UNSEEN.sub("", _SPACES.sub(" ", _SEQUENCES.sub("", text))))


def printable_lines(text: str) -> list[str]:
    """The same of a text of several lines, line by line."""
    return [printable(line) for line in text.splitlines()]


def as_text(value: object) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


FORMULAS = tuple("=+-@\t\r\n＝＋－＠")
"""What a cell begins with that a spreadsheet takes for a formula."""


def cell(value: object) -> object:
    """The value of a cell of CSV: a text that a spreadsheet would run stands behind an apostrophe, numbers do not."""
    if not isinstance(value, str) or not value.startswith(FORMULAS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value

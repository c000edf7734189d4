"""Text that every file, terminal and page can hold, made of text that comes from anywhere."""

from __future__ import annotations

import re

LOST = "\ufffd"
"""Unicode's own mark for a character that could not be kept."""

_NONE = re.compile("[\ud800-\udfff\0]")


def sound(text: str, mark: str = LOST) -> str:
    """The text with `mark` for each character that is none: half a surrogate pair, which no encoding has, and NUL.

    JSON can carry both, and so can what a function returns. Every character stays at its place.
    """
    return _NONE.sub(mark, text)

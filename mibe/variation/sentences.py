"""Where the sentences of a text are, and what is put between them."""

from __future__ import annotations

import re

_ENDS = re.compile(r"(?<=[.!?])[\"”')\]]*\s+(?=[\"“(]?[A-Z])")
_ABBREVIATION = re.compile(r"\b(?:Dr|Mr|Mrs|Ms|St|vs|No|Fig|approx|e\.g|i\.e)\.$")


def starts(text: str) -> list[int]:
    """Where each sentence begins; an abbreviation's full stop ends none."""
    found = [0]
    for gap in _ENDS.finditer(text):
        if not _ABBREVIATION.search(text[: gap.start()].rstrip()):
            found.append(gap.end())
    return found


def before_last(text: str, sentence: str) -> str:
    """The text with a sentence before its last one."""
    at = starts(text)[-1]
    return f"{text[:at]}{sentence} {text[at:]}"


_REFERS = re.compile(
    r"[\"“(]?(?:This|That|These|Those|It|Its|They|Their|Such|Both|Another|The (?:latter|former|same))\b"
)
"""The beginning of a sentence that speaks of what the one before it named."""


def after_first(text: str, sentence: str) -> str:
    """The text with a sentence after its first one, or after the next one that no pronoun ties to its successor."""
    for at in starts(text)[1:]:
        if not _REFERS.match(text, at):
            return f"{text[:at]}{sentence} {text[at:]}"
    return f"{text.rstrip()} {sentence}"

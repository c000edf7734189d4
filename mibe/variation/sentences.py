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


def after_first(text: str, sentence: str) -> str:
    """The text with a sentence after its first one."""
    found = starts(text)
    if len(found) < 2:
        return f"{text.rstrip()} {sentence}"
    return f"{text[: found[1]]}{sentence} {text[found[1] :]}"

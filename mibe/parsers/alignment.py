"""Where in a source text a copy of it stands: the copy may drop, add or change words, and space them differently.

Words are compared without case and typography, white space and invisible characters are left out, and the longest run
of words in common is taken first, then those on both sides of it (Ratcliff and Obershelp, as in `difflib`). So a
word is at its own place among equal ones as long as its neighbours are there, and a text that has little in common
with the source matches it in few words rather than in many scattered letters.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import accumulate

from mibe.parsers.text import INVISIBLE

_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_ONE_FORM = str.maketrans(
    {**dict.fromkeys("‘’‚‛′`´", "'"), **dict.fromkeys("“”„‟″«»", '"'), **dict.fromkeys("‐‑‒–—―−", "-")}
)

# An output longer than any marked sentence is the loop of a broken model; the cut bounds the time.
_MOST_WORDS = 4_000

Place = tuple[int, int]


@dataclass(frozen=True)
class _Words:
    """The words of a text, and where each of their characters stands in it."""

    words: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> _Words:
        """Runs of letters, runs of digits and single other characters, in one case and typography."""
        found = cls()
        for match in _WORD.finditer(fold(text)):
            if ord(match[0][0]) not in INVISIBLE:
                found.words.append(match[0])
                found.positions.extend(range(*match.span()))
            if len(found.words) == _MOST_WORDS:
                break
        return found


def fold(text: str) -> str:
    """The text in lower case, with one form of each quote and dash; its length does not change."""
    return "".join(low if len(low := char.lower()) == 1 else char for char in text.translate(_ONE_FORM))


class Alignment:
    """A copy laid beside its source, character by character."""

    def __init__(self, copy: str, source: str) -> None:
        self._copy, self._source = _Words.of(copy), _Words.of(source)
        self._match = _matches(self._copy.words, self._source.words)

    def place(self, start: int, end: int) -> Place | None:
        """Start and end in the source of `copy[start:end]`; None unless the same text stands there in one piece."""
        positions = self._copy.positions
        matched = self._match[bisect_left(positions, start) : bisect_left(positions, end)]
        if not matched or None in matched or matched != list(range(matched[0] or 0, (matched[0] or 0) + len(matched))):
            return None
        return self._source.positions[matched[0] or 0], self._source.positions[matched[-1] or 0] + 1


def _matches(copy: list[str], source: list[str]) -> list[int | None]:
    """For each character in the words of the copy, the number of the source's character that it stands for."""
    copy_starts, source_starts = _starts(copy), _starts(source)
    match: list[int | None] = [None] * copy_starts[-1]
    i = j = 0
    for block in SequenceMatcher(None, copy, source, autojunk=False).get_matching_blocks():
        # Between two common runs, the same characters may be parted into words differently ("don't", "do n't").
        same = "".join(copy[i : block.a]) == "".join(source[j : block.b])
        begin, begin_source = (i, j) if same else (block.a, block.b)
        i, j = block.a + block.size, block.b + block.size
        offset = source_starts[begin_source] - copy_starts[begin]
        match[copy_starts[begin] : copy_starts[i]] = [
            position + offset for position in range(copy_starts[begin], copy_starts[i])
        ]
    return match


def _starts(words: Iterable[str]) -> list[int]:
    """Where each word begins in all of them joined, and the length of that."""
    return list(accumulate(map(len, words), initial=0))

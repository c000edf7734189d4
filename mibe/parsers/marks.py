"""A text in which every possible answer is one character, so that the grammar of answers needs to know no answer.

"The answer is (B) aspirin, not warfarin." becomes "The answer is ①, not ②." Patterns over such a text are the same for
option letters, option texts and labels, favour none of them, and need not guess how long an answer is. The characters
are from Unicode's private use area: their high byte says what kind of mention it is, their low byte which answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """What a mark stands for. The first five are answers."""

    SIGN = 0xE0
    """A bare letter, which may also be an ordinary one."""
    LETTER = 0xE1
    """A letter that is named as one ("option B", "(B)")."""
    BOTH = 0xE2
    """A letter with its option's text."""
    NAME = 0xE3
    """A label or an option's text."""
    WORD = 0xE4
    """A label or an option's text that is an ordinary word too ("no", "effect")."""
    TURNED_DOWN = 0xE5
    """An answer that is denied, described, doubted or set as a condition: no choice."""
    SEVERAL = 0xE6
    """A list of different answers."""
    OUTSIDE = 0xE7
    """What has the form of an answer and is none of the task's (a letter too many, "unknown")."""


def of(*kinds: Kind) -> str:
    """A pattern for one mark of these kinds."""
    return "[" + "".join(f"{chr(kind << 8)}-{chr((kind << 8) + 0xFF)}" for kind in kinds) + "]"


SIGN, LETTER, BOTH, NAME, WORD, DOWN, SEVERAL, OUTSIDE = (of(kind) for kind in Kind)
LETTER_KINDS = (Kind.SIGN, Kind.LETTER, Kind.BOTH)
LETTERS = of(Kind.SIGN, Kind.LETTER, Kind.BOTH)
ANSWER = of(Kind.SIGN, Kind.LETTER, Kind.BOTH, Kind.NAME, Kind.WORD)
STRONG = of(Kind.LETTER, Kind.BOTH, Kind.NAME)
ANY = of(*Kind)
NO_MARK = "[^" + "".join(f"{chr(Kind.SIGN << 8)}-{chr((Kind.OUTSIDE << 8) + 0xFF)}") + "]"

_FOREIGN = re.compile("[\ue000-\uf8ff]")


@dataclass(frozen=True, slots=True)
class Mention:
    """One possible answer at `text[start:end]`; `index` is its place among the task's answers."""

    start: int
    end: int
    index: int
    kind: Kind


Finder = Callable[[str], Sequence[Mention]]


def mark(kind: Kind, index: int = 0) -> str:
    """The character of a mention."""
    return chr((kind << 8) + index)


def kind_of(char: str) -> Kind:
    """The kind of a mark."""
    return Kind(ord(char) >> 8)


def index_of(char: str) -> int:
    """Which answer a mark stands for."""
    return ord(char) & 0xFF


def as_kind(char: str, kind: Kind) -> str:
    """The mark of the same answer, of another kind."""
    return mark(kind, index_of(char))


def write(text: str, mentions: Iterable[Mention]) -> str:
    """The text with its mentions, which do not overlap, as marks."""
    pieces: list[str] = []
    position = 0
    for mention in mentions:
        pieces += text[position : mention.start], mark(mention.kind, mention.index)
        position = mention.end
    return "".join([*pieces, text[position:]])


def without_foreign(text: str) -> str:
    """The text without private characters of its own, which would pass for marks."""
    return _FOREIGN.sub(" ", text)


def show(marked: str, answers: Sequence[str]) -> str:
    """A marked text for people: answers in brackets."""
    names = {Kind.SEVERAL: "several", Kind.OUTSIDE: "none of them"}

    def name(found: re.Match[str]) -> str:
        kind = kind_of(found[0])
        if kind in names:
            return f"[{names[kind]}]"
        return f"[{'not ' if kind is Kind.TURNED_DOWN else ''}{answers[index_of(found[0])]}]"

    return re.sub(ANY, name, marked)

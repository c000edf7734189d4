"""Finding names in a text, word by word, whatever their case, spelling, number and punctuation.

A name is a tuple of folded words. Matching words instead of characters makes "Tumour-promoting inflammation",
"DDI_false" and "Hematology/Oncology" the same as the labels they stand for, never finds a name inside a word, and
costs one dictionary look-up a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Japanese, Chinese and Korean letters: they stand before and behind a name without a space ("答案是yes")."""
WORD = re.compile(rf"\d+(?:[.,]\d+)+|[^\W_{_UNSPACED}]+|[{_UNSPACED}]+")
BETWEEN = re.compile(r"[\s\-_/&,.:'\"()+]{0,6}")
_AMERICAN = [
    (re.compile(british), american)
    for british, american in [("ae|oe", "e"), ("our$", "or"), ("lling$", "ling"), ("i[sz]ation", "ization")]
]


@lru_cache(maxsize=8192)
def fold(word: str) -> str:
    """One form for case, British and American spelling, singular and plural."""
    word = word.lower()
    if len(word) > 4:
        for pattern, replacement in _AMERICAN:
            word = pattern.sub(replacement, word)
    return word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] not in "sui" else word


def folded_words(text: str, *, drop_and: bool = False) -> tuple[str, ...]:
    """The words of a name, without "and" where names differ in how they join their parts."""
    words = (fold(word) for word in WORD.findall(text))
    return tuple(word for word in words if not (drop_and and word == "and"))


@dataclass(frozen=True, slots=True)
class Found:
    """A name at `text[start:end]` and what it stands for."""

    start: int
    end: int
    value: str
    name: tuple[str, ...]


class Names:
    """A fixed set of names, each standing for a value. Of names that begin at one word the longest is found.

    `between` matches what may stand between two words of a name.
    """

    def __init__(
        self, values: Mapping[tuple[str, ...], str], *, drop_and: bool = False, between: re.Pattern[str] = BETWEEN
    ) -> None:
        self._drop_and = drop_and
        self._between = between
        self._by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for name, value in sorted(values.items(), key=lambda item: -len(item[0])):
            self._by_first.setdefault(name[0], []).append((name, value))

    def find(self, text: str) -> Iterable[Found]:
        """Names in `text`, from left to right, none overlapping another."""
        words = [(fold(word[0]), word.start(), word.end()) for word in WORD.finditer(text)]
        index = 0
        while index < len(words):
            for name, value in self._by_first.get(words[index][0], ()):
                last = self._match(name, words, index, text)
                if last is not None:
                    yield Found(words[index][1], words[last][2], value, name)
                    index = last
                    break
            index += 1

    def _match(self, name: tuple[str, ...], words: list[tuple[str, int, int]], index: int, text: str) -> int | None:
        """The index of the last word of `name` where it stands at `index`."""
        for expected in name[1:]:
            previous_end = words[index][2]
            index += 1
            if self._drop_and and index < len(words) and words[index][0] == "and" and expected != "and":
                if self._between.fullmatch(text, previous_end, words[index][1]) is None:
                    return None
                previous_end = words[index][2]
                index += 1
            if index >= len(words) or words[index][0] != expected:
                return None
            if self._between.fullmatch(text, previous_end, words[index][1]) is None:
                return None
        return index

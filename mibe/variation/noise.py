"""The text of a document as people and machines spoil it, without a change of what it says.

Only plain words are touched, which `noise.json` lists: numbers, units, names of drugs, negations and abbreviations are
none, whether or not somebody thought of them. Words of the options, and words that an error could turn into another
word, stay as they are too.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from mibe.task import Example, Task
from mibe.variation.closed import check_closed
from mibe.variation.dice import dice
from mibe.variation.reviewed import reviewed
from mibe.variation.varied import Made, Refused, Version, Versions

TYPED = 0.08
"""Of 100 words that may have a typing error, so many have one: a careless typist's share."""
SHORTEST = 5
"""Letters of the shortest word with a typing error, so that readers still know the word."""
LINE = (48, 78)
"""Characters of a line, at least and at most, as the columns of a page have them."""

_WORD = re.compile(r"\S+")
_LETTERS = re.compile(r"[A-Za-z]+")
_BEGINS = re.compile(r"(?:\A|[.?!:][\"')\]]*\s+|\n\s*)\Z")
_LETTER_NAME = re.compile(r"(?<![A-Za-z])[A-Z](?![A-Za-z])")
"""A letter by itself, which names something: "A-a gradient", "(A)"."""

KEPT = Refused("nothing in it may be changed")

Spoil = Callable[[str, random.Random, frozenset[str]], str]
"""(text, dice, words that stay) → text."""


@cache
def _protected() -> tuple[re.Pattern[str], frozenset[str]]:
    """The pattern that a protected word matches in whole, and words that are protected as they stand."""
    lists: Mapping[str, list[str]] = reviewed("noise")
    stems, heads = "|".join(lists["drug_stems"]), "|".join([*lists["opposites"], *lists["drug_beginnings"]])
    words = frozenset(word.lower() for name in ("units", "negations", "drugs", "confusable") for word in lists[name])
    return re.compile(rf"[a-z]*(?:{stems})s?|(?:{heads})[a-z]*|[a-z]*(?:ectomy|ostomy|otomy)", re.I), words


def is_protected(word: str, kept: frozenset[str] = frozenset()) -> bool:
    """Whether a word, with the marks around it, must stay as it is; `kept` are further words, in lower case."""
    pattern, words = _protected()
    if re.search(r"[\d@$%°µ<>=/_\\]|['’]t\b", word) or re.search(r"[A-Z].*[A-Z]", word):
        return True
    if word != "A" and _LETTER_NAME.search(word):
        return True
    letters = _LETTERS.findall(word)
    return any(part.lower() in words or part.lower() in kept or pattern.fullmatch(part) is not None for part in letters)


@cache
def _plain() -> frozenset[str]:
    """The words that may be touched, in lower case."""
    return frozenset(reviewed("noise")["plain"])


def may_change(word: str, kept: frozenset[str]) -> bool:
    """Whether a word, with the marks around it, is made of plain words alone, and is not protected."""
    letters = [part.lower() for part in _LETTERS.findall(word)]
    return bool(letters) and _plain().issuperset(letters) and not is_protected(word, kept)


def typing_errors(text: str, dice: random.Random, kept: frozenset[str]) -> str:
    """Some words with an error (`_mistyped`), one of them at least; none that makes another word of the text."""
    places = [found for found in _WORD.finditer(text) if _may_be_mistyped(found[0], kept)]
    chosen = [place for place in places if dice.random() < TYPED] or dice.sample(places, min(1, len(places)))
    known = {word.lower() for word in _LETTERS.findall(text)}
    for place in reversed(chosen):
        letters = max(_LETTERS.finditer(place[0]), key=lambda found: len(found[0]))
        wrong = _mistyped(letters[0], dice)
        if wrong.lower() not in known and not is_protected(wrong, kept):
            start = place.start() + letters.start()
            text = text[:start] + wrong + text[start + len(letters[0]) :]
    return text


def _may_be_mistyped(word: str, kept: frozenset[str]) -> bool:
    return max(map(len, _LETTERS.findall(word)), default=0) >= SHORTEST and may_change(word, kept)


def _mistyped(word: str, dice: random.Random) -> str:
    """The word with an error behind its first letter and before its last.

    A letter is doubled, changes places with the next, or one of two that are the same is left out. Other letters stay:
    "patient" without its i is another word.
    """
    pairs = [at for at in range(1, len(word) - 1) if word[at] == word[at + 1]]
    kind = dice.choice(("doubled", "exchanged", "left out") if pairs else ("doubled", "exchanged"))
    if kind == "left out":
        at = dice.choice(pairs)
        return word[:at] + word[at + 1 :]
    if kind == "exchanged" and (places := [at for at in range(1, len(word) - 2) if word[at] != word[at + 1]]):
        at = dice.choice(places)
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    at = dice.randrange(1, len(word) - 1)
    return word[: at + 1] + word[at:]


def lower_case(text: str, dice: random.Random, kept: frozenset[str]) -> str:
    """Small letters where plain words have large ones; an A is one of them at the beginning of a sentence alone."""

    def lowered(word: re.Match[str]) -> str:
        is_name = word[0] == "A" and not _BEGINS.search(text, 0, word.start())
        return word[0] if is_name or not may_change(word[0], kept) else word[0].lower()

    return _WORD.sub(lowered, text)


def line_breaks(text: str, dice: random.Random, kept: frozenset[str]) -> str:
    """Lines as of a page whose columns were extracted badly: broken in sentences, some words hyphenated at the end.

    What follows a number or a negation stays on its line.
    """
    lines: list[str] = []
    line, most, bound = "", dice.randint(*LINE), False
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if line and len(longer) > most and not bound:
            head, tail = _hyphenated(word, dice, kept)
            lines.append(f"{line} {head}" if head else line)
            line, most = tail, dice.randint(*LINE)
        else:
            line = longer
        bound = is_protected(word, kept)
    return "\n".join([*lines, line])


def _hyphenated(word: str, dice: random.Random, kept: frozenset[str]) -> tuple[str, str]:
    """Both parts of a long word, or nothing and the word."""
    if len(word) < 2 * SHORTEST or not word.isalpha() or not may_change(word, kept) or dice.random() < 0.5:
        return "", word
    middle = len(word) // 2
    return word[:middle] + "-", word[middle:]


KINDS: Mapping[str, Spoil] = {"typos": typing_errors, "lowercase": lower_case, "breaks": line_breaks}

NAME = "noise"
"""As `--vary` names it."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The document and `count` − 1 spoiled copies, the kinds in turn."""

    count: int
    seed: int
    name: str = NAME

    def of(self, example: Example) -> Made:
        """The spoiled copies of one document; those that came out as the document is are left out."""
        kept = frozenset(word.lower() for choice in example.choices for word in _LETTERS.findall(choice))
        made: dict[str, Version] = {}
        for number in range(self.count - 1):
            turn, kind = divmod(number, len(KINDS))
            value = list(KINDS)[kind] + (f"-{turn + 1}" if turn else "")
            inputs = {
                field: KINDS[list(KINDS)[kind]](text, dice(self.seed, example, f"{value}/{field}"), kept)
                for field, text in example.inputs.items()
            }
            if inputs != example.inputs:
                made[value] = Version(replace(example, inputs=inputs))
        return Versions("none", made) if made else KEPT


def make(task: Task, count: int | None, seed: int) -> Noise:
    """The way, for a task whose answers are no part of the text."""
    check_closed(task, NAME)
    return Noise(1 + len(KINDS) if count is None else count, seed)

"""A text about one person, told of the other sex.

Words are exchanged in pairs. What a swap of words cannot get right is refused: people of both sexes, and relatives,
whose pronouns would be the patient's before or after the swap.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from mibe.variation.reviewed import reviewed
from mibe.variation.varied import Refused

FEMALE, MALE = "female", "male"

NONE = Refused("it names no sex")
BOTH = Refused("it speaks of people of both sexes by pronouns or nouns")
UNCLEAR = Refused("words alone do not tell whether a “her” is “his” or “him”")
RELATIVE = Refused("it speaks of a relative, whose pronouns would be those of the patient")

_OPENING = frozenset("“‘\"'(")
_PLACES = frozenset(("at", "from", "in", "inside", "near", "of", "outside", "to"))
"""Words before "her home" that make it a place; "brought her home" is said of her."""

_WORD = re.compile(r"\b(?:Mrs?|Ms)\.|[A-Za-z]+")


@cache
def _words() -> Mapping[str, frozenset[str]]:
    """The words that tell of women, of men, of relatives, and of partners of either sex."""
    lists = reviewed("attributes")["sex"]
    return {
        FEMALE: frozenset(pair[0] for pair in lists["pairs"]) | {"her", "hers"},
        MALE: frozenset(pair[1] for pair in lists["pairs"]) | {"his", "him"},
        "relatives": frozenset(lists["relatives"]),
        # A man's wife becomes a woman's husband; a woman's wife stays what no word tells from the patient.
        f"{FEMALE} partners": frozenset(pair[0] for pair in lists["partners"]),
        f"{MALE} partners": frozenset(pair[1] for pair in lists["partners"]),
    }


@cache
def _exchange() -> Mapping[str, str]:
    """Each word and the one it becomes; the first pair of a word counts."""
    lists = reviewed("attributes")["sex"]
    found: dict[str, str] = {}
    for one, other in (*lists["pairs"], *lists["partners"]):
        found.setdefault(one, other)
        found.setdefault(other, one)
    return found


def tells_of_somebody(text: str) -> bool:
    """Whether a text has a word for a person that tells a sex: a pronoun, a noun, a partner, a relative."""
    said = {word.lower() for word in _WORD.findall(text)}
    return any(not words.isdisjoint(said) for words in _words().values())


def swapped(text: str) -> tuple[str, str, str] | Refused:
    """(sex of the patient, the other one, the text told of it), or why it cannot be told."""
    said = [word.lower() for word in _WORD.findall(text)]
    told = {sex for sex in (FEMALE, MALE) if not _words()[sex].isdisjoint(said)}
    if not told:
        return NONE
    if len(told) > 1:
        return BOTH
    (sex,) = told
    if not (_words()["relatives"] | _words()[f"{sex} partners"]).isdisjoint(said):
        return RELATIVE
    words = [*_WORD.finditer(text)]
    parts, end = [], 0
    for number, word in enumerate(words):
        following = words[number + 1] if number + 1 < len(words) else None
        gap = text[word.end() : following.start()] if following else "."
        before = said[number - 1] if number else ""
        if said[number] == "her" and _is_unclear(before, following[0] if following else "", gap):
            return UNCLEAR
        new = _told_of_other(before, word[0], following[0] if following else "", gap)
        parts += [text[end : word.start()], new]
        end = word.end()
    return sex, MALE if sex == FEMALE else FEMALE, "".join([*parts, text[end:]])


def _is_unclear(before: str, following: str, gap: str) -> bool:
    """Whether "her" may stand before a verb as well as before a noun ("helped her sleep"), or before a quotation."""
    if gap.strip() in _OPENING or (following.lower() == "home" and before not in _PLACES):
        return True
    lists = reviewed("attributes")["sex"]
    return before in lists["before_her_and_a_verb"] and not gap.strip() and following.lower() not in lists["after_him"]


def _told_of_other(before: str, word: str, following: str, gap: str) -> str:
    """The word for the other sex; "her" is "his" before a noun and "him" elsewhere, "his" is "hers" after an "of"."""
    low = word.lower()
    # A number belongs to the noun behind it: "her 3 children".
    alone = gap.strip(" 0123456789-") != "" or following.lower() in reviewed("attributes")["sex"]["after_him"]
    if low == "her":
        new = "him" if alone else "his"
    elif low == "his" and before == "of" and alone:
        new = "hers"
    else:
        new = {"his": "her", "him": "her", "hers": "his"}.get(low) or _exchange().get(low, low)
    if new == low:
        return word
    return new.capitalize() if word[0].isupper() else new

"""Twins of questions: the same text with details of another question, which it might as well have had.

A paraphrase is no twin. Whoever wrote the question chose his words, and any model finds them likelier than ours,
learned or not. A twin has other details, which carry next to no medicine (the last digit of an age, a pulse or a
laboratory value), and it has them from another question of the same set. Nothing tells whose digit is whose but having
seen the two: a model that has not is as likely to find the given texts the likelier ones as the twins.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

BAND = 5
"""Values of the last digit between which details are exchanged (0 to 4, 5 to 9): ages at which screening begins, and
most limits of what is normal, lie between two such bands and not within one."""

_UNITS = (
    r"/min|beats|breaths|mm ?Hg|mg/dL|g/dL|mEq/L|mmol/L|[µμ]mol/L|I?U/L|mg/L|ng/mL|pg/mL|[µμm]c?g/dL|[mµμ]I?U/m?L|"
    r"fL|mm/h"
)
_ALONE = r"(?<![\d.,/])"
_DETAIL = re.compile(
    rf"(?P<age>{_ALONE}[2-8]\d)(?=[- ]years?[- ]old)"
    rf"|(?P<celsius>{_ALONE}\d\d\.\d)(?P<between> ?°? ?C \()\d{{2,3}}(?P<tenths>\.\d)?(?= ?°? ?F\))"
    rf"|(?P<systolic>{_ALONE}\d{{2,3}})(?=/\d{{2,3}} ?mm ?Hg)"
    rf"|(?<=/)(?P<diastolic>\d{{2,3}})(?= ?mm ?Hg)"
    rf"|(?P<saturation>{_ALONE}\d\d)(?=% on room air)"
    rf"|(?P<measure>{_ALONE}(?:\d{{2,3}}|\d{{1,2}}\.\d))(?= ?(?P<unit>{_UNITS}))"
)
_NAME = re.compile(r"([A-Za-z][A-Za-z0-9+-]+)\W*(?:(?:is|of|was|are|level|concentration|activity|at|to)\b\W*)*$")


Kind: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Detail:
    """A number in a text that another text could have: where it stands, and all that must be the same for that."""

    start: int
    end: int
    text: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Twins:
    """Two questions, by their places among all, and the text of each with details of the other."""

    places: tuple[int, int]
    texts: tuple[str, str]


def twins_of(texts: Sequence[str], windows: Sequence[tuple[int, int]] | None = None, *, seed: int = 0) -> list[Twins]:
    """Pairs of texts that can exchange details, each text in one pair at most: those with most to exchange first.

    `windows` are the characters of each text within which details may change, by default all of it.
    """
    ranges = windows or [(0, len(text)) for text in texts]
    own = [{detail.kind: detail for detail in details(text, *span)} for text, span in zip(texts, ranges, strict=True)]
    having: dict[Kind, list[int]] = defaultdict(list)
    for place, found in enumerate(own):
        for kind in found:
            having[kind].append(place)
    shared: Counter[tuple[int, int]] = Counter()
    for kind, places in having.items():
        shared.update(
            (one, other) for one, other in combinations(places, 2) if own[one][kind].text != own[other][kind].text
        )
    order = list(range(len(texts)))
    random.Random(seed).shuffle(order)
    left, pairs = set(order), []
    for one, other in sorted(shared, key=lambda pair: (-shared[pair], order[pair[0]], order[pair[1]])):
        if one in left and other in left:
            left -= {one, other}
            pairs.append(_exchanged(texts, own, one, other))
    return pairs


def _exchanged(texts: Sequence[str], own: Sequence[Mapping[Kind, Detail]], one: int, other: int) -> Twins:
    kinds = own[one].keys() & own[other].keys()
    mine, theirs = (
        _with(texts[to], [(own[to][kind], own[of][kind].text) for kind in kinds])
        for to, of in ((one, other), (other, one))
    )
    return Twins((one, other), (mine, theirs))


def _with(text: str, changes: Sequence[tuple[Detail, str]]) -> str:
    for detail, new in sorted(changes, key=lambda change: -change[0].start):
        text = text[: detail.start] + new + text[detail.end :]
    return text


def details(text: str, start: int, end: int) -> Iterator[Detail]:
    """The details between two characters of a text. Where it has two of a kind, both stay as they are."""
    found: dict[Kind, list[Detail]] = defaultdict(list)
    for match in _DETAIL.finditer(text):
        detail = _detail(text, match)
        found[detail.kind].append(detail)
    # The ages of two people may go together.
    ages = sum(len(own) for kind, own in found.items() if kind[0] == "age")
    for kind, (detail, *others) in found.items():
        if not others and start <= detail.start and detail.end <= end and not (kind[0] == "age" and ages > 1):
            yield detail


def _detail(text: str, match: re.Match[str]) -> Detail:
    def told(number: str, *more: str) -> Detail:
        """The kind is what it is a number of, all digits but the last, and the band of the last."""
        return Detail(match.start(), match.end(), match[0], (*more, number[:-1], str(int(number[-1]) // BAND)))

    if match["celsius"] is not None:
        # Two scales tell one temperature, and are exchanged together.
        return told(match["celsius"], "celsius", match["between"], str(match["tenths"] is None))
    if match["unit"] is None:
        return told(match[0], str(match.lastgroup))
    rate = match["unit"] in ("/min", "beats", "breaths")
    return told(match[0], "measure", match["unit"], "" if rate else _measured(text, match.start()))


def _measured(text: str, place: int) -> str:
    """The word before a number, such as what was measured."""
    found = _NAME.search(text[max(0, place - 40) : place])
    return "" if found is None else found[1].lower()

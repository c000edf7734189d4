"""Pairs for preference tuning: a right and a wrong draw of one document."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from mellama_train.draws.judged import Asked, Draw
from mellama_train.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class PairChoice:
    """Which draws make a pair.

    A draw is right from the score `right` on and wrong up to `wrong` (`Asked`); `most` pairs are made of a document,
    each draw standing in one of them at most. With `length` the longer text of a pair has at most that share of
    characters more than the shorter one, and the nearest in length are taken first; without, chance (`seed`) decides.
    """

    right: float = 1.0
    wrong: float = 0.0
    most: int = 1
    length: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.wrong < self.right <= 1:
            raise DataError(
                f"--right {self.right:g} and --wrong {self.wrong:g}: both are scores from 0 to 1, and a right draw has "
                "the higher one"
            )
        if self.most < 1:
            raise DataError(f"--per-document {self.most} is out of range; it is a number of pairs, at least 1")
        if self.length is not None and not 0 <= self.length < math.inf:
            raise DataError(f"--match-length {self.length:g} is out of range; it is a share, 0 or more")


def pairs_of(document: Asked, choice: PairChoice) -> list[tuple[Draw, Draw]]:
    """(right draw, wrong draw) of a document, the first choice first; none where all draws are alike."""
    both = product(document.right(choice.right), document.wrong(choice.wrong))
    candidates = [pair for pair in both if choice.length is None or _excess(*pair) <= choice.length]

    def order(pair: tuple[Draw, Draw]) -> tuple[float, bytes]:
        better, worse = pair
        chance = f"{choice.seed}/{document.id}/{better.number}/{worse.number}"
        digest = hashlib.sha256(chance.encode("utf-8", "surrogatepass")).digest()
        return (0.0 if choice.length is None else _excess(better, worse)), digest

    chosen: list[tuple[Draw, Draw]] = []
    used: set[int] = set()
    for better, worse in sorted(candidates, key=order):
        if len(chosen) < choice.most and used.isdisjoint((better.number, worse.number)):
            chosen.append((better, worse))
            used |= {better.number, worse.number}
    return chosen


def pair_rows(document: Asked, choice: PairChoice, source: str) -> Iterator[dict[str, Any]]:
    """The pairs of a document as lines that `mellama-train train dpo`, and TRL itself, read."""
    for better, worse in pairs_of(document, choice):
        yield {
            "prompt": list(document.messages),
            "chosen": [{"role": "assistant", "content": better.text}],
            "rejected": [{"role": "assistant", "content": worse.text}],
            "source": source,
            "id": document.id,
            "draws": [better.number, worse.number],
            "scores": [better.score, worse.score],
        }


def _excess(a: Draw, b: Draw) -> float:
    """By which share the longer text is longer than the shorter."""
    shorter, longer = sorted((len(a.text), len(b.text)))
    return longer / shorter - 1

"""The options of a question in other orders."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mibe.errors import UsageError
from mibe.task import Example, Task, letter
from mibe.variation.varied import Made, Refused, Version, Versions

BY_PLACE = re.compile(
    r"\b(?:all|none|any|both|neither|either)(?: of)? (?:the )?(?:above|following|options|choices|answers|others?)\b"
    r"|\b(?:all|none|any|both|neither|either) of (?:these|those|them)\b|\bthe above\b|\babove\W*$"
    r"|^\W*(?:both|neither|either|all|none)\W*$|^\W*(?:both|neither|either) [a-j]\b"
    r"|^\W*[a-j]\W*(?:(?:and|or|&|,|\+)\W*[a-j]\W*)+$|\b(?:options?|choices?|answers?) [a-j1-9]\b",
    re.I,
)
"""An option that speaks of others, by their place or of all: in another order it would say something else."""

REFERS = Refused("an option speaks of the others")
FEWER = Refused("it has fewer orders than were asked for")


@dataclass(frozen=True, slots=True)
class Options:
    """Cyclic orders, in which each option stands once at each letter; or `count` random ones, the given one first."""

    count: int | None
    seed: int
    name: str = "options"

    def of(self, example: Example) -> Made:
        """The orders of one question's options."""
        if any(BY_PLACE.search(choice) for choice in example.choices):
            return REFERS
        size = len(example.choices)
        if self.count is not None and self.count > math.factorial(size):
            return FEWER
        orders = cyclic(size) if self.count is None else drawn(size, self.count, f"{self.seed}/{example.id}")
        others = {str(n): reordered(example, order) for n, order in enumerate(orders) if n}
        return Versions("0", others, "".join(first_letters(example.choices)))


def make(task: Task, count: int | None, seed: int) -> Options:
    """The way, for a task of questions with options."""
    if not task.labels or list(task.labels) != [letter(i) for i in range(len(task.labels))]:
        raise UsageError(f"{task.name} has no options whose order could vary; leave options out of --vary for it")
    return Options(count, seed)


def cyclic(size: int) -> Iterator[tuple[int, ...]]:
    """The orders 0 1 2 …, 1 2 … 0, and so on: place → the option that stands there."""
    return (tuple((place + turn) % size for place in range(size)) for turn in range(size))


def drawn(size: int, count: int, seed: str) -> Iterator[tuple[int, ...]]:
    """`count` orders, none twice, the first as it is."""
    dice, seen = random.Random(seed), {tuple(range(size))}
    yield tuple(range(size))
    while len(seen) < count:
        order = tuple(dice.sample(range(size), size))
        if order not in seen:
            seen.add(order)
            yield order


def reordered(example: Example, order: Sequence[int]) -> Version:
    """The question with its options in this order, and the letter that the right one has there."""
    names = first_letters(example.choices)
    target = letter(list(order).index(ord(example.target) - ord("A")))
    choices = tuple(example.choices[old] for old in order)
    return Version(replace(example, choices=choices, target=target), "".join(names[old] for old in order))


def first_letters(choices: Sequence[str]) -> list[str]:
    """The letter of each option, that of the first for options of one text."""
    texts = [choice.split() for choice in choices]
    return [letter(texts.index(text)) for text in texts]

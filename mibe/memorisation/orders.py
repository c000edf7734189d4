"""Orders of a question's options that it might as well have had.

Writers of questions put options in order, by number, by the alphabet, short ones first, and they have a favourite place
for the right one. A model knows such habits without having seen the question. So the right option keeps its place, and
an order that shows a habit is set only against others that show the same.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Sequence
from itertools import permutations

from mibe.task import Example
from mibe.variation.options import BY_PLACE

ORDERS = 6
"""Orders of a question, the given one among them: all there are where one of four options keeps its place."""

LOOKED_AT = 720
"""The most orders among which others are looked for."""

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def orders_of(example: Example, *, count: int = ORDERS, seed: int = 0) -> list[tuple[str, ...]]:
    """The options as given, and then in up to `count` − 1 other orders by lot.

    Empty where there is no other order: fewer than three options, some that speak of others or have one text, or a
    habit that no other order shows.
    """
    choices = example.choices
    if len(choices) < 3 or len(set(choices)) < len(choices) or any(BY_PLACE.search(choice) for choice in choices):
        return []
    fixed = ord(example.target) - ord("A")
    habits = _habits(choices)
    others = [order for order in _orders(choices, fixed, f"{seed}/{example.id}") if _habits(order) == habits]
    return [choices, *others[: count - 1]] if others else []


def _orders(choices: Sequence[str], fixed: int, seed: str) -> Iterator[tuple[str, ...]]:
    """Other orders, each once, with the option at `fixed` where it was."""
    dice = random.Random(seed)
    free = [place for place in range(len(choices)) if place != fixed]
    if math.factorial(len(free)) <= LOOKED_AT:
        drawn = list(permutations(free))
        dice.shuffle(drawn)
    else:
        drawn = [tuple(dice.sample(free, len(free))) for _ in range(LOOKED_AT)]
    for order in dict.fromkeys(drawn):
        if order != tuple(free):
            yield tuple(choices[place] for place in (*order[:fixed], fixed, *order[fixed:]))


def _habits(choices: Sequence[str]) -> tuple[bool, ...]:
    """Whether the options rise or fall by their first numbers, by the alphabet, and by length."""
    found = [_NUMBER.search(choice) for choice in choices]
    numbers = [float(number[0]) for number in found if number]
    keys: tuple[list[float] | list[str] | list[int], ...] = (
        numbers if len(numbers) == len(choices) else [],
        [choice.lower() for choice in choices],
        [len(choice) for choice in choices],
    )
    return tuple(values == sorted(values, reverse=falls) for values in keys for falls in (False, True))

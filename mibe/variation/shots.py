"""A document after other draws of worked examples."""

from __future__ import annotations

from dataclasses import dataclass

from mibe.task import Example, Task
from mibe.variation.varied import Made, Version, Versions

COUNT = 5

NAME = "shots"
"""As `--vary` names it."""


@dataclass(frozen=True, slots=True)
class Draws:
    """The same document after each of `count` draws of worked examples; draw 0 is the one without `--vary`."""

    count: int
    name: str = NAME

    def of(self, example: Example) -> Made:
        """The document, once for each draw."""
        return Versions("0", {str(number): Version(example) for number in range(1, self.count)})


def make(task: Task, count: int | None, seed: int) -> Draws:
    """The way of any task."""
    return Draws(COUNT if count is None else count)

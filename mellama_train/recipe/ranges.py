"""The values that a number in a YAML file may have, as part of its type: `rows: Count`, `weights: dict[str, Positive]`.

`yaml_schema` reads by these; a class checks only what depends on several of its fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The bounds of a number, each of them optional. `why` is what a message says of them."""

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    why: str = ""

    def __contains__(self, value: float) -> bool:
        return not (
            (self.above is not None and value <= self.above)
            or (self.at_least is not None and value < self.at_least)
            or (self.below is not None and value >= self.below)
            or (self.at_most is not None and value > self.at_most)
        )

    def __str__(self) -> str:
        bounds = {"above": self.above, "at least": self.at_least, "below": self.below, "at most": self.at_most}
        return " and ".join(f"{name} {bound:,}" for name, bound in bounds.items() if bound is not None)

    def problem(self, value: float) -> str | None:
        """What to say of a value that lies outside."""
        if value in self:
            return None
        return f"{self.why}{'; ' if self.why else ''}must be {self}, and is {value}"


Positive = Annotated[float, Range(above=0)]
NotNegative = Annotated[float, Range(at_least=0)]
Share = Annotated[float, Range(at_least=0, at_most=1)]
PartialShare = Annotated[float, Range(at_least=0, below=1)]
SmallShare = Annotated[float, Range(at_least=0, below=0.5, why="is a share of the documents")]
"""What is held out of a data set."""
Count = Annotated[int, Range(at_least=1)]
Natural = Annotated[int, Range(at_least=0)]
ROW_LENGTH = Range(at_least=8, at_most=2**24, why="is in tokens")
RowLength = Annotated[int, ROW_LENGTH]
RowsOfStep = Annotated[int, Range(at_least=1, at_most=2**20)]
Epochs = Annotated[int, Range(at_least=1, at_most=10_000)]
"""Rows of a step, and of all epochs, are kept as lists of numbers."""
Seed = Annotated[int, Range(at_least=0, below=2**63)]
"""What every library's generator of random numbers takes."""

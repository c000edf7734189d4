"""What a leaderboard is made of: columns, rows and the cells where they meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mibe.leaderboard.consistency import Answer
from mibe.leaderboard.runs import Result

PARTIAL = "*"
"""The mark of a figure of a part of the documents."""

CONSTANT = "†"
"""The mark of a figure of always the same answer."""

MEMORISED = "‡"
"""The mark of a figure of a test set that the model was found to have learned by heart."""


def marks(*, partial: bool, constant: bool | None, memorised: bool) -> str:
    """The marks of a figure, or of a mean of such figures."""
    return PARTIAL * partial + CONSTANT * bool(constant) + MEMORISED * memorised


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of one data set. `headline` marks those of the mean: the paper's first of each of the twelve."""

    dataset: str
    metric: str
    headline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of one model; of own runs with 95 % interval, standard error and documents scored (`n` of `of`).

    `draws` is how many draws of each document it is the mean of; `constant` says whether the model gave always the same
    answer, None where nothing tells; `evidence` is what `mibe memorised` found, where it found the test set learned by
    heart.
    """

    value: float
    low: float | None = None
    high: float | None = None
    stderr: float | None = None
    n: int | None = None
    of: int | None = None
    draws: int = 1
    constant: bool | None = None
    evidence: str = ""
    note: str = ""
    source: str = ""
    answer: Answer | None = None
    difference: Difference | None = None

    @property
    def partial(self) -> bool:
        """Whether documents of the split are missing from the figure."""
        return self.n is not None and self.of is not None and self.n < self.of

    @property
    def marks(self) -> str:
        """What a reader must see beside the figure."""
        return marks(partial=self.partial, constant=self.constant, memorised=bool(self.evidence))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An own figure minus a published one. The interval is the own figure's: the published one prints none."""

    reference: str
    published: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """Mean of a row's headline figures over the `tasks` it has, and its rank among the `ranked` rows with the same.

    `whole` of the figures are of all documents, `constant` says whether one of them is of always the same answer, and
    `memorised` whether one is of a test set that was learned by heart.
    The interval is made of theirs (`mibe.metrics.means`), and there is none where one of them has none. A mean of
    partial figures has no rank.
    """

    value: float
    low: float | None
    high: float | None
    tasks: tuple[str, ...]
    whole: int
    constant: bool
    memorised: bool
    rank: int | None = None
    ranked: int = 0
    tier: int | None = None

    @property
    def partial(self) -> bool:
        """Whether documents are missing from a figure that it is of."""
        return self.whole < len(self.tasks)

    @property
    def marks(self) -> str:
        """What a reader must see beside the mean."""
        return marks(partial=self.partial, constant=self.constant, memorised=self.memorised)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model in one setting. `results` are those of own runs by task; none for a published row."""

    name: str
    own: bool
    cells: Mapping[Column, Cell]
    results: Mapping[str, Result] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Tells a published row from an own one of the same name."""
        return f"{'own' if self.own else 'published'}:{self.name}"

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that the model goes by: that of the row, and those that its runs have given it."""
        return tuple(dict.fromkeys((self.name, *(name for result in self.results.values() for name in result.names))))

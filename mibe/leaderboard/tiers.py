"""Tiers of own runs: models between which no difference is shown share one.

The best model heads a tier and is compared with every other, in pairs of the same documents (`mibe.analysis.compare`:
paired, by cluster). Its tier goes down to the last model that is not significantly worse, with Holm's correction over
the comparisons with this head; the best model below heads the next tier. "Within its interval" is no relation that
chains (A and B may be alike, and B and C, while A and C are not), so some rule must say where a tier ends. This one
makes each line between tiers a shown difference from the best above it, as the top group of a shared task is drawn; a
chain of neighbours that are alike would put all models into one tier, and a count of the models that are better would
give two models of one tier two ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from mibe.analysis.compare import Difference
from mibe.errors import RunError, UsageError
from mibe.leaderboard.cells import Cell, Column, Row
from mibe.leaderboard.consistency import own_name
from mibe.leaderboard.remembered import compared
from mibe.leaderboard.runs import Result
from mibe.metrics.comparison import Halves, holm, mean_of_halves, normal_halves, of_halves
from mibe.published.figures import HUMAN
from mibe.results.run import load_run

LEVEL = 0.05
"""p-values up to this show a difference."""

RESAMPLES = 1000
"""Of each comparison, at least."""

RESAMPLES_PER_MODEL = 100
"""More models are more comparisons, whose correction wants smaller p-values than few resamples can give."""

Z = 1.96
"""Standard errors on either side of a normal 95 % interval."""


def tiers(ordered: Sequence[Row], p_value: Callable[[Row, Row], float]) -> dict[str, int]:
    """Key of a row → its tier from 1. The rows come from the best to the worst."""
    found: dict[str, int] = {}
    rest, number = list(ordered), 0
    while rest:
        number += 1
        head, *others = rest
        p_values = [p_value(head, other) for other in others]
        # The correction wants numpy, which a single row need not wait for.
        alike = [p > LEVEL for p in holm(p_values)] if others else []
        size = 1 + max((place for place, is_alike in enumerate(alike, start=1) if is_alike), default=0)
        found |= {row.key: number for row in rest[:size]}
        rest = rest[size:]
    return found


class PairTests:
    """The tests of differences between own rows, each pair of runs compared once, when it is first asked about.

    `columns` are those of the board, whose headlines means are of. `notes` say which pairs could not be compared on the
    same documents, and why; these are tested by their two intervals.
    """

    def __init__(self, rows: Sequence[Row], columns: Sequence[Column] = ()) -> None:
        self._resamples = max(RESAMPLES, RESAMPLES_PER_MODEL * len(rows))
        self._headlines = {column.dataset: column for column in columns if column.headline}
        self._found: dict[tuple[Path, Path, str, str], tuple[dict[str, Difference], Halves | None]] = {}
        self.notes: dict[str, None] = {}

    def of_column(self, column: Column, a: Row, b: Row) -> float:
        """p of the difference between two rows in a column."""
        found, _ = self._compared(a, b, column)
        return _normal(*_unpaired(a.cells[column], b.cells[column])) if found is None else found.p

    def of_mean(self, columns: Sequence[Column], a: Row, b: Row) -> float:
        """p of the difference between the means of two rows over columns, whose tasks are taken as independent.

        It is read off the tasks' own random halves, split by split the mean of theirs; a pair that is known by its
        intervals alone adds normal noise. Of one column it is the column's.
        """
        if len(columns) == 1:
            return self.of_column(columns[0], a, b)
        self._headlines |= {column.dataset: column for column in columns}
        ahead = sum(a.cells[column].value - b.cells[column].value for column in columns)
        parts = []
        for number, column in enumerate(columns):
            _, halves = self._compared(a, b, column)
            if halves is None:
                difference, error = _unpaired(a.cells[column], b.cells[column], ahead)
                if math.isnan(error):
                    return 1.0
                halves = normal_halves(difference, error, resamples=self._resamples, seed=number)
            parts.append(halves)
        return float(of_halves(mean_of_halves(parts)).p[0])

    def _compared(self, a: Row, b: Row, column: Column) -> tuple[Difference, Halves | None] | tuple[None, None]:
        """The difference of a column and, where the column is a headline, its random halves; None without a pair."""
        if column.dataset.endswith(HUMAN):
            # What people said is not in the logs that are compared.
            return None, None
        first, second = a.results[column.dataset], b.results[column.dataset]
        kept = _figure(self._headlines.get(column.dataset, column), first)
        key = first.path, second.path, column.dataset, kept
        if key not in self._found:
            self._found[key] = {}, None
            try:
                runs = load_run(first.path), load_run(second.path)
                rows, halves = compared(*runs, column.dataset, kept=kept, resamples=self._resamples)
                self._found[key] = {row.metric: row for row in rows}, halves
            except (UsageError, RunError) as error:
                names = f"{first.path.name} and {second.path.name}"
                self.notes[f"{names} are tested by their two intervals alone: {error}"] = None
        differences, halves = self._found[key]
        difference = differences.get(_figure(column, first))
        return (None, None) if difference is None else (difference, halves)


def _figure(column: Column, result: Result) -> str:
    """A column's figure, as a comparison calls it: it has the mean itself where the figure is a median of resamples."""
    return own_name(column.metric, column.dataset, result.protocol).removesuffix("_median")


def _unpaired(a: Cell, b: Cell, ahead: float | None = None) -> tuple[float, float]:
    """The difference of two figures and a standard error of it, of their intervals; not a number where one has none.

    The documents may be the same and the errors go together in any way, so that the distances to the bounds that face
    each other are added, which is the most that they can make: the p is below 0.05 where the intervals lie apart. They
    face each other on the side of the figure that is `ahead`, by default the larger one.
    """
    difference = a.value - b.value
    better, worse = (a, b) if (difference if ahead is None else ahead) >= 0 else (b, a)
    if better.low is None or worse.high is None:
        return difference, math.nan
    return difference, (better.value - better.low + worse.high - worse.value) / Z


def _normal(difference: float, error: float) -> float:
    """Two-sided p of a difference by its standard error; 1 where that is unknown."""
    if difference == 0 or math.isnan(error):
        return 1.0
    return math.erfc(abs(difference) / error / math.sqrt(2)) if error else 0.0

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
from mibe.metrics.comparison import holm
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

    `notes` say which pairs could not be compared on the same documents, and why; these are tested by their two
    intervals, as if the documents were others.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._resamples = max(RESAMPLES, RESAMPLES_PER_MODEL * len(rows))
        self._found: dict[tuple[Path, Path, str], dict[str, Difference]] = {}
        self.notes: dict[str, None] = {}

    def of_column(self, column: Column, a: Row, b: Row) -> float:
        """p of the difference between two rows in a column."""
        found = self._difference(a, b, column)
        return _normal(*_unpaired(a.cells[column], b.cells[column])) if found is None else found.p

    def of_mean(self, columns: Sequence[Column], a: Row, b: Row) -> float:
        """p of the difference between the means of two rows over columns, whose tasks are taken as independent."""
        parts = []
        for column in columns:
            found = self._difference(a, b, column)
            if found is None:
                parts.append(_unpaired(a.cells[column], b.cells[column]))
            else:
                parts.append((found.difference, (found.high - found.low) / (2 * Z)))
        return _normal(sum(value for value, _ in parts), math.sqrt(sum(error**2 for _, error in parts)))

    def _difference(self, a: Row, b: Row, column: Column) -> Difference | None:
        first, second = a.results[column.dataset], b.results[column.dataset]
        if column.dataset.endswith(HUMAN):
            # What people said is not in the logs that are compared.
            return None
        # A comparison has the mean itself where the figure is the median over its resamples.
        metric = own_name(column.metric, column.dataset, first.protocol).removesuffix("_median")
        return self._compared(first.path, second.path, column.dataset).get(metric)

    def _compared(self, a: Path, b: Path, task: str) -> dict[str, Difference]:
        key = a, b, task
        if key not in self._found:
            rows: tuple[Difference, ...] = ()
            try:
                rows = compared(load_run(a), load_run(b), task, resamples=self._resamples)
            except (UsageError, RunError) as error:
                self.notes[f"{a.name} and {b.name} are tested by their two intervals alone: {error}"] = None
            self._found[key] = {row.metric: row for row in rows}
        return self._found[key]


def _unpaired(a: Cell, b: Cell) -> tuple[float, float]:
    """The difference and its standard error, as of independent figures; not a number where one has none."""
    errors = [math.nan if cell.stderr is None else cell.stderr for cell in (a, b)]
    return a.value - b.value, math.hypot(*errors)


def _normal(difference: float, error: float) -> float:
    """Two-sided p of a difference by its standard error; 1 where that is unknown."""
    if difference == 0 or math.isnan(error):
        return 1.0
    return math.erfc(abs(difference) / error / math.sqrt(2)) if error else 0.0

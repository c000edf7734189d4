"""Who stands where: ranks in each column, and means over the tasks that a model has."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mibe.leaderboard.cells import Cell, Column, Mean, Row

DIGITS = 3
"""Decimals that the paper prints: figures that agree in these have the same rank."""

LESS_IS_BETTER = frozenset({"missing", "unreadable_verdicts", "brier", "ece", "ece_adaptive"})
"""Figures of which more is not better: they have no rank."""

Z = 1.96
"""Standard errors on either side of a normal 95 % interval."""


def ranks_of(columns: Sequence[Column], rows: Sequence[Row]) -> dict[tuple[Column, str], int]:
    """Rank from 1 by each column, ties sharing the better one. Figures of a part of the documents have none."""
    ranks: dict[tuple[Column, str], int] = {}
    for column in columns:
        if column.metric in LESS_IS_BETTER:
            continue
        values = {
            row.key: round(row.cells[column].value, DIGITS)
            for row in rows
            if column in row.cells and not row.cells[column].partial
        }
        for key, value in values.items():
            ranks[column, key] = 1 + sum(other > value for other in values.values())
    return ranks


def means_of(columns: Sequence[Column], rows: Sequence[Row]) -> dict[str, Mean]:
    """Mean of each row over the headline figures it has; ranked only among rows that have the very same tasks."""
    found: dict[str, tuple[tuple[str, ...], list[Cell]]] = {}
    for row in rows:
        of_row = {column.dataset: row.cells[column] for column in columns if column.headline and column in row.cells}
        if of_row:
            found[row.key] = tuple(of_row), list(of_row.values())
    values = {
        key: round(_mean(cells), DIGITS) for key, (_, cells) in found.items() if not any(cell.partial for cell in cells)
    }
    means = {}
    for key, (tasks, cells) in found.items():
        peers = [value for other, value in values.items() if found[other][0] == tasks]
        value = _mean(cells)
        errors = [cell.stderr for cell in cells if cell.stderr is not None]
        half = Z * math.sqrt(sum(error**2 for error in errors)) / len(cells) if len(errors) == len(cells) else None
        means[key] = Mean(
            value=value,
            low=None if half is None else value - half,
            high=None if half is None else value + half,
            tasks=tasks,
            rank=1 + sum(peer > values[key] for peer in peers) if key in values else None,
            ranked=len(peers),
        )
    return means


def _mean(cells: Sequence[Cell]) -> float:
    return sum(cell.value for cell in cells) / len(cells)

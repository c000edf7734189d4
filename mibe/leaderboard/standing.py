"""Who stands where: means over the tasks that a model has, ranks that say who is shown to be better, and the order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mibe.leaderboard.cells import Cell, Column, Mean, Row
from mibe.leaderboard.consistency import ROUNDING
from mibe.leaderboard.tiers import PairTests, tiers
from mibe.metrics.means import Bounded, mean_of

DIGITS = 3
"""Decimals that the paper prints: published figures that agree in these have the same rank."""

LESS_IS_BETTER = frozenset({"missing", "unreadable_verdicts", "brier", "ece", "ece_adaptive"})
"""Figures of which more is not better: they have no rank."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: its rank, and where it is a run of ours the tier among these, which it shares the rank of."""

    rank: int
    tier: int | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a row has to show; of a published one only a figure as printed."""

    value: float
    low: float | None = None
    high: float | None = None
    tier: int | None = None


def places_of(columns: Sequence[Column], rows: Sequence[Row], tests: PairTests) -> dict[tuple[Column, str], Place]:
    """The place of each row in each column. Figures of a part of the documents have none."""
    found: dict[tuple[Column, str], Place] = {}
    for column in columns:
        if column.metric in LESS_IS_BETTER:
            continue
        there = [row for row in rows if column in row.cells and not row.cells[column].partial]
        own = sorted((row for row in there if row.own), key=lambda row: -row.cells[column].value)
        tier = tiers(own, partial(tests.of_column, column))
        entries = {row.key: _entry(row.cells[column], tier.get(row.key)) for row in there}
        found |= {(column, key): place for key, place in _places(entries).items()}
    return found


def means_of(columns: Sequence[Column], rows: Sequence[Row], tests: PairTests) -> dict[str, Mean]:
    """Mean of each row over the headline figures it has; ranked only among rows that have the very same tasks."""
    headlines = {row.key: [column for column in columns if column.headline and column in row.cells] for row in rows}
    found = {row.key: _mean(row, headlines[row.key]) for row in rows if headlines[row.key]}
    peers: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.key in found and not found[row.key].partial:
            peers.setdefault(found[row.key].tasks, []).append(row)
    for alike in peers.values():
        own = sorted((row for row in alike if row.own), key=lambda row: -found[row.key].value)
        shared = headlines[alike[0].key]
        tier = tiers(own, partial(tests.of_mean, shared))
        entries = {row.key: _entry(found[row.key], tier.get(row.key)) for row in alike}
        for key, place in _places(entries).items():
            found[key] = replace(found[key], rank=place.rank, ranked=len(alike), tier=place.tier)
    return found


def in_order(rows: Sequence[Row], means: Mapping[str, Mean]) -> tuple[Row, ...]:
    """The rows by how many of the headline figures they have, whole ones first, then by their mean."""

    def standing(row: Row) -> tuple[int, int, float]:
        mean = means.get(row.key)
        return (0, 0, 0.0) if mean is None else (mean.whole, len(mean.tasks), mean.value)

    return tuple(sorted(rows, key=standing, reverse=True))


def _mean(row: Row, columns: Sequence[Column]) -> Mean:
    cells = [row.cells[column] for column in columns]
    low = high = None
    bounded = [
        Bounded(cell.value, cell.low, cell.high) for cell in cells if cell.low is not None and cell.high is not None
    ]
    if len(bounded) == len(cells):
        # As in the table of a run: figures of the same documents are not taken as independent.
        sources = [row.results[column.dataset].part["data"]["sha256"] for column in columns]
        _, low, high = mean_of(bounded, sources)
    return Mean(
        value=sum(cell.value for cell in cells) / len(cells),
        low=low,
        high=high,
        tasks=tuple(column.dataset for column in columns),
        whole=sum(not cell.partial for cell in cells),
        constant=any(cell.constant for cell in cells),
        memorised=any(cell.evidence for cell in cells),
    )


def _entry(shown: Cell | Mean, tier: int | None) -> _Entry:
    return _Entry(shown.value, shown.low, shown.high, tier)


def _places(entries: Mapping[str, _Entry]) -> dict[str, Place]:
    """Rank = 1 + the number of rows that are better; own rows of one tier share the best of theirs."""
    ranks = {key: 1 + sum(_is_better(other, entry) for other in entries.values()) for key, entry in entries.items()}
    best: dict[int | None, int] = {}
    for key, entry in entries.items():
        best[entry.tier] = min(ranks[key], best.get(entry.tier, ranks[key]))
    return {
        key: Place(ranks[key] if entry.tier is None else best[entry.tier], entry.tier) for key, entry in entries.items()
    }


def _is_better(a: _Entry, b: _Entry) -> bool:
    """Of two own rows the one in the better tier; of an own and a published one that beyond the own interval; of two
    published ones, of which no more is known, the higher figure."""
    if a.tier is not None and b.tier is not None:
        return a.tier < b.tier
    if a.tier is None and b.tier is None:
        return round(a.value, DIGITS) > round(b.value, DIGITS)
    low = a.value - ROUNDING if a.low is None else a.low
    high = b.value + ROUNDING if b.high is None else b.high
    return low > high

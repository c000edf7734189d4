"""What own models cost beside what they score: figures of a row, and the points of the accuracy–cost plot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mibe.cost.figures import Cost
from mibe.cost.pareto import front
from mibe.forecast.hardware import GIB
from mibe.leaderboard.board import Board
from mibe.leaderboard.cells import Cell, Column, Row
from mibe.published.figures import HUMAN
from mibe.published.memory import published_memory

MISSING = "–"
GROUP = "Cost"
"""The category of the columns, which the page can show alone."""

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measure:
    """One way to count what a model costs: its name and unit, and its value in the cost of one task."""

    name: str
    unit: str
    of: Callable[[Cost], float | None]
    is_a_peak: bool = False
    """Of several tasks the largest counts, not the mean of their documents."""

    @property
    def title(self) -> str:
        """Name and unit in one line."""
        return f"{self.name}, {self.unit}"


def _seconds(cost: Cost) -> float | None:
    return cost.levels[0].seconds if cost.levels else None


def _gib(cost: Cost) -> float | None:
    return None if cost.memory.peak is None else cost.memory.peak / GIB


MEASURES = (
    Measure("Time", "seconds a document", _seconds),
    Measure("Peak memory", "GiB", _gib, is_a_peak=True),
    Measure("Operations", "GFLOP a document", lambda cost: None if cost.flops is None else cost.flops / 1e9),
    Measure("Money", "USD a thousand documents", lambda cost: None if cost.usd is None else 1000 * cost.usd),
)


def measures_of(board: Board) -> list[Measure]:
    """The measures that any own row of a board has."""
    return [measure for measure in MEASURES if any(figure(row, measure) is not None for row in board.rows)]


def figure(row: Row, measure: Measure) -> float | None:
    """What a row costs over all of its tasks; None where one of them does not tell, or it is published.

    A task that came whole from the cache cost nothing, and is left out.
    """
    costs = [cost for cost in costs_of(row) if cost.documents or measure.of(cost) is not None]
    known = [(value, cost.documents) for cost in costs if (value := measure.of(cost)) is not None]
    if not known or len(known) < len(costs):
        return None
    if measure.is_a_peak:
        return max(value for value, _ in known)
    documents = sum(count for _, count in known)
    return sum(value * count for value, count in known) / documents if documents else None


def costs_of(row: Row) -> Iterator[Cost]:
    """The cost of each task of a row; people who rate are no model."""
    for task, result in row.results.items():
        if result.cost is not None and not task.endswith(HUMAN):
            yield result.cost


def number(value: float | None) -> str:
    """Three digits."""
    return MISSING if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def lines(board: Board) -> Iterator[list[str]]:
    """Rows of a table of text: each measure, its unit, and the figure of each row of the board."""
    for place, measure in enumerate(measures_of(board)):
        cells = [number(figure(row, measure)) for row in board.rows]
        yield ["cost" if place == 0 else "", f"{measure.name.lower()}, {measure.unit}", *cells]


def as_data(board: Board) -> list[Data]:
    """The same as JSON data; None: not measured."""
    return [
        {"model": row.name} | {measure.title: figure(row, measure) for measure in MEASURES}
        for row in board.rows
        if row.own
    ]


def view(board: Board) -> Data:
    """What the page shows: columns of its ranked table, notes, and whether there is a plot."""
    measures = measures_of(board)
    return {
        "group": GROUP,
        "columns": [{"title": measure.name, "unit": measure.unit} for measure in measures],
        "rows": [[_cell(figure(row, measure)) for measure in measures] for row in board.rows],
        "notes": _notes() if measures else [],
        "plot": bool(plot(board)["tasks"]),
    }


def group_of(shown: Data) -> list[str]:
    """The category of a view's columns, where it has some."""
    return [GROUP] if shown["columns"] else []


def _cell(value: float | None) -> Data:
    return {"value": value, "text": number(value)}


def _notes() -> list[str]:
    return [f"{each.text}: {' '.join(each.doubts)}" for each in published_memory()]


def plot(board: Board) -> Data:
    """The points of each data set that has some, and by measure the numbers of those on the Pareto line."""
    measures = measures_of(board)
    tasks = [
        {
            "title": column.dataset,
            "metric": column.metric,
            "points": points,
            "fronts": [pareto(points, place) for place in range(len(measures))],
        }
        for column in _headlines(board.columns)
        if (points := list(_points(board.rows, column, measures)))
    ]
    return {"measures": [{"title": measure.title, "name": measure.name} for measure in measures], "tasks": tasks}


def pareto(points: Sequence[Data], place: int) -> list[int]:
    """Numbers of the points that none beats in both cost and figure, by their cost.

    Only figures of as many documents as the largest has compete: those of fewer are of other questions.
    """
    most = max(point["documents"] for point in points)
    there = [
        number
        for number, point in enumerate(points)
        if point["costs"][place] is not None and point["documents"] == most
    ]
    return [there[number] for number in front([(points[n]["costs"][place], points[n]["value"]) for n in there])]


def _headlines(columns: Iterable[Column]) -> list[Column]:
    """The first figure of each data set that a model was asked."""
    first: dict[str, Column] = {}
    for column in columns:
        if not column.dataset.endswith(HUMAN):
            first.setdefault(column.dataset, column)
    return list(first.values())


def _points(rows: Sequence[Row], column: Column, measures: Sequence[Measure]) -> Iterator[Data]:
    for row in rows:
        cell, result = row.cells.get(column), row.results.get(column.dataset)
        if cell is None or result is None or result.cost is None:
            continue
        costs = [measure.of(result.cost) for measure in measures]
        if any(cost is not None for cost in costs):
            yield _point(row, cell, result.cost, costs)


def _point(row: Row, cell: Cell, cost: Cost, costs: Sequence[float | None]) -> Data:
    return {
        "model": row.name,
        "value": cell.value,
        "low": cell.low,
        "high": cell.high,
        "marks": cell.marks,
        "documents": cell.n,
        "costs": costs,
        "texts": [number(value) for value in costs],
        "machine": cost.machine,
    }

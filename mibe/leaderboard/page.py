"""The leaderboard as a static page (`mibe.pages`): every figure in tables, and charts of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mibe.errors import UsageError
from mibe.judge.verdicts import TOP_K
from mibe.leaderboard import versions
from mibe.leaderboard.board import Board
from mibe.leaderboard.cells import CONSTANT, MEMORISED, PARTIAL, Cell, Column, Mean, Row
from mibe.leaderboard.consistency import own_name
from mibe.leaderboard.costs import group_of as cost_group
from mibe.leaderboard.costs import plot as cost_plot
from mibe.leaderboard.costs import view as cost_view
from mibe.leaderboard.tables import MISSING, documents, interval, mean_cells, number, rank_text, signed
from mibe.leaderboard.tables import TITLES as SETTING_TITLES
from mibe.pages import write_page as write_files
from mibe.published.figures import BACKBONES, CATEGORIES, HUMAN, TITLES, forgetting_figures
from mibe.terminal.version import VERSION

METRIC_TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "micro_f1": "micro-F1",
    "exact_match": "exact match",
    "top1_accuracy": "top-1 accuracy",
    "top5_accuracy": "top-5 accuracy",
    "f1": "F1",
    "rougeL": "ROUGE-L",
    "bertscore": "BERTScore",
    "bartscore": "BARTScore",
}
MEANINGS = {PARTIAL: "a part of the documents", CONSTANT: "always the same answer", MEMORISED: "learned by heart"}
"""What the marks beside a figure mean."""

OTHER_TASKS = "Other tasks"
COLOURS = 6
"""Own runs that the charts tell apart by colour and shape; the eye does not tell many more."""

FORGETTING_FIGURES = ("mmlu", "medqa")

Data = dict[str, Any]


def write_page(boards: Sequence[Board], folder: Path, *, backbones: Mapping[str, str] | None = None) -> Path:
    """Write the page into `folder`; `backbones` are own models and what they were trained from, for the last chart.

    Returns the path of index.html. Raises `UsageError` for a backbone of no model, and `RunError` when the folder
    cannot be written.
    """
    forgetting = forgetting_points(boards, backbones or {})
    context = {
        "title": "MIBE leaderboard",
        "subtitle": _subtitle(boards),
        "version": VERSION,
        "boards": [board_view(board) | {"versions": versions.page_view(board, folder)} for board in boards],
        "forgetting": bool(forgetting),
        "forgetting_source": "The paper's models are those of v1, table 4; own runs are in their own setting.",
        "data": {"colours": COLOURS, "boards": [chart_data(board) for board in boards], "forgetting": forgetting},
    }
    return write_files(folder, "leaderboard.html", context, assets=("cost.js", "leaderboard.js"))


def dataset_title(dataset: str) -> str:
    """The paper's name of a data set, or the task's own."""
    return TITLES.get(dataset, dataset)


def metric_title(metric: str) -> str:
    """A metric as it is written in prose."""
    return METRIC_TITLES.get(metric, metric)


def category(dataset: str) -> str:
    """The paper's category of a data set."""
    return next((name.capitalize() for name, members in CATEGORIES.items() if dataset in members), OTHER_TASKS)


def family(name: str, *, own: bool) -> str:
    """By what a model is coloured: own, the paper's own models, others of the paper."""
    if own:
        return "own"
    return "mellama" if name.startswith("Me-LLaMA") else "other"


def _subtitle(boards: Sequence[Board]) -> str:
    own = {row.name for board in boards for row in board.rows if row.own}
    published = {row.name for board in boards for row in board.rows if not row.own}
    parts = [f"{len(own)} own model{'s' if len(own) != 1 else ''}"] if own else []
    if published:
        parts.append(f"{len(published)} models of the Me-LLaMA paper ({boards[0].version})")
    return " beside ".join(parts)


def board_view(board: Board) -> Data:
    """What the template shows of a board."""
    own = [row for row in board.rows if row.own]
    costs = cost_view(board)
    return {
        "setting": board.setting,
        "title": SETTING_TITLES[board.setting],
        "own": bool(own),
        "many": len(own) > COLOURS,
        "topk": bool(_topk(board)),
        "remarks": board.remarks,
        "notes": [
            *(f"{dataset_title(note.dataset)}: {note.note}" for note in board.footnotes),
            *board.run_notes,
            *costs["notes"],
        ],
        "caption": _caption(board),
        "categories": [*dict.fromkeys(category(column.dataset) for column in board.columns), *cost_group(costs)],
        "costs": costs,
        "columns": [_column_view(column) for column in board.columns],
        "has_mean": bool(board.means),
        "rows": [_row_view(board, row) for row in board.rows],
        "beside": [line for row in own for line in _beside(board, row)],
    }


def _caption(board: Board) -> str:
    parts = ["Sorted by how many figures of the mean a model has, then by the mean."]
    parts += ["Bold: rank 1, than which none is shown to be better.", "– : not measured."]
    if any(row.own for row in board.rows):
        parts += [f"Own runs: protocol {board.protocol}, 95 % interval below the figure."]
    if any(not row.own for row in board.rows):
        parts += ["Published figures have no interval."]
    shown = {mark for row in board.rows for cell in row.cells.values() for mark in cell.marks}
    return " ".join([*parts, *(f"{mark} {meaning}." for mark, meaning in MEANINGS.items() if mark in shown)])


def _column_view(column: Column) -> Data:
    return {
        "title": dataset_title(column.dataset),
        "metric_title": metric_title(column.metric),
        "category": category(column.dataset),
    }


def _row_view(board: Board, row: Row) -> Data:
    _, tasks, rank = mean_cells(board, row)
    found = board.means.get(row.key)
    return {
        "name": row.name,
        "own": row.own,
        "family": family(row.name, own=row.own),
        "mean": number(None if found is None else found.value),
        "mean_marks": [] if found is None else _marks(found),
        "mean_detail": "" if found is None else interval(found.low, found.high),
        "mean_tasks": tasks,
        "mean_rank": _mean_rank(board, row, rank),
        "mean_sort": None if found is None else f"{found.whole} {len(found.tasks)} {found.value}",
        "cells": [_cell_view(board, row, column) for column in board.columns],
    }


def _mean_rank(board: Board, row: Row, rank: str) -> str:
    """The rank of a mean and, where own runs make several tiers of it, the tier."""
    if rank == MISSING:
        return ""
    tier = board.means[row.key].tier
    tiers = {mean.tier for mean in board.means.values()} - {None}
    return f"rank {rank}, tier {tier}" if tier is not None and len(tiers) > 1 else f"rank {rank}"


def _cell_view(board: Board, row: Row, column: Column) -> Data:
    cell = row.cells.get(column)
    return {
        "category": category(column.dataset),
        "value": None if cell is None else cell.value,
        "text": number(None if cell is None else cell.value),
        "detail": "" if cell is None else interval(cell.low, cell.high),
        "marks": [] if cell is None else _marks(cell),
        "rank": board.rank(column, row),
        "place": "" if board.rank(column, row) is None else f"rank {rank_text(board, column, row)}",
    }


def _marks(shown: Cell | Mean) -> list[Data]:
    """Each mark of a figure or mean, with what it means there."""
    titles = {
        PARTIAL: f"{documents(shown)} documents" if isinstance(shown, Cell) else MEANINGS[PARTIAL],
        CONSTANT: MEANINGS[CONSTANT],
        MEMORISED: f"{MEANINGS[MEMORISED]}: {shown.evidence}" if isinstance(shown, Cell) else MEANINGS[MEMORISED],
    }
    return [{"mark": mark, "title": titles[mark]} for mark in shown.marks]


def _beside(board: Board, row: Row) -> Iterator[Data]:
    for column in board.columns:
        if (cell := row.cells.get(column)) is None:
            continue
        found = cell.difference
        yield {
            **_column_view(column),
            "model": row.name,
            "value": cell.value,
            "text": number(cell.value),
            "marks": _marks(cell),
            "interval": interval(cell.low, cell.high),
            "n": cell.n,
            "documents": documents(cell),
            "rank": board.rank(column, row),
            "rank_text": rank_text(board, column, row),
            "reference": found and found.reference,
            "published": found and found.published,
            "published_text": found and number(found.published),
            "difference": found and found.value,
            "difference_text": found and signed(found.value),
            "difference_interval": found and f"{signed(found.low)} to {signed(found.high)}",
            "answer": MISSING if cell.answer is None else str(cell.answer),
        }


def chart_data(board: Board) -> Data:
    """What the charts of a board are drawn from."""
    return {
        "columns": [
            {
                "title": dataset_title(column.dataset),
                "metricTitle": metric_title(column.metric),
                "category": category(column.dataset),
                "headline": column == _first_of(board, column.dataset),
            }
            for column in board.columns
        ],
        "models": [
            {
                "name": row.name,
                "own": row.own,
                "family": family(row.name, own=row.own),
                "cells": [_cell_data(row.cells.get(column)) for column in board.columns],
            }
            for row in board.rows
        ],
        "outcomes": [_outcomes(row) for row in board.rows if row.own],
        "topk": _topk(board),
        "costs": _cost_plot(board),
    }


def _cost_plot(board: Board) -> Data:
    """The accuracy–cost plot, with data sets and figures as they are written here."""
    found = cost_plot(board)
    for task in found["tasks"]:
        title, metric = dataset_title(task["title"]), metric_title(task["metric"])
        task |= {"label": f"{title}: {metric}", "metricTitle": f"{title}, {metric}"}
    return found


def _first_of(board: Board, dataset: str) -> Column:
    return next(column for column in board.columns if column.dataset == dataset)


def _cell_data(cell: Cell | None) -> Data | None:
    if cell is None:
        return None
    return {
        "value": cell.value,
        "low": cell.low,
        "high": cell.high,
        "marks": cell.marks,
        "marked": "; ".join(mark["title"] for mark in _marks(cell)),
    }


def _outcomes(row: Row) -> Data:
    tasks = [
        {
            "title": dataset_title(task),
            "samples": result.part["samples"],
            "rates": {name: figure["value"] for name, figure in result.part["rates"].items()},
        }
        for task, result in row.results.items()
        if not task.endswith(HUMAN)
    ]
    return {"model": row.name, "tasks": tasks}


def _topk(board: Board) -> list[Data]:
    """The curves of the diagnosis tasks."""
    curves = []
    for row in board.rows:
        for task, result in row.results.items():
            points = [result.part["figures"][name] for name in TOP_K.names if name in result.part["figures"]]
            if points:
                curves.append(
                    {
                        "model": row.name,
                        "title": dataset_title(task),
                        "documents": str(result.scored),
                        "points": [{key: point[key] for key in ("value", "low", "high")} for point in points],
                    }
                )
    return curves


def forgetting_points(boards: Sequence[Board], backbones: Mapping[str, str]) -> list[Data]:
    """Accuracy in MMLU and MedQA of the paper's models and of the own ones that have both, with their backbones."""
    points: dict[str, Data] = {}
    rows = {name: row.name for board in boards for row in board.rows if row.own for name in row.names}
    backbones = {rows.get(model, model): rows.get(origin, origin) for model, origin in backbones.items()}
    if any(board.version != "none" for board in boards):
        of_model: dict[str, dict[str, float]] = {}
        for figure in forgetting_figures():
            if figure.metric == "accuracy":
                of_model.setdefault(figure.model, {})[figure.dataset] = figure.value
        for model, figures in of_model.items():
            points[model] = _point(model, backbone=BACKBONES.get(model), own=False, partial=False, **figures)
    for board in boards:
        for row in board.rows:
            if row.own and all(dataset in row.results for dataset in FORGETTING_FIGURES):
                own = {dataset: _accuracy(row, dataset) for dataset in FORGETTING_FIGURES}
                partial = any(row.results[dataset].partial for dataset in FORGETTING_FIGURES)
                points[row.name] = _point(row.name, backbone=backbones.get(row.name), own=True, partial=partial, **own)
    for model, backbone in backbones.items():
        if lost := [name for name in (model, backbone) if name not in points]:
            there = ", ".join(points) or "none"
            raise UsageError(f"--backbone: {lost[0]!r} has no figures of both MMLU and MedQA; there is {there}")
    return list(points.values())


def _accuracy(row: Row, dataset: str) -> float:
    result = row.results[dataset]
    return float(result.part["figures"][own_name("accuracy", dataset, result.protocol)]["value"])


def _point(name: str, *, backbone: str | None, own: bool, partial: bool, mmlu: float, medqa: float) -> Data:
    return {
        "name": name,
        "own": own,
        "family": family(name, own=own),
        "backbone": backbone,
        "partial": partial,
        "mmlu": mmlu,
        "medqa": medqa,
    }

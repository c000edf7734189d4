"""A filled table as text, in the shape of the paper's: published and own figures above each other, figure by figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mibe.analysis.text import write_csv
from mibe.leaderboard.cells import Cell
from mibe.leaderboard.tables import MISSING, broken, interval, number, signed, table
from mibe.published.figures import HUMAN, TITLES, VERSIONS
from mibe.reproduction.filled import Change, Column, Figure, Filled

FORMATS = ("text", "markdown", "csv")
NOT_PRINTED = "not printed"
LINES = ("published", "own", "95 % interval", "consistent?")
CHANGE_HEADER = ("change", "task", "metric", "published", "own", "95 % interval", "n", "p")


def render(filled: Filled, form: str) -> str:
    """The table in one of `FORMATS`; csv has one line a figure and model."""
    if form == "csv":
        return write_csv(list(_records(filled)))
    reasons: dict[str, str] = {}
    parts = [_title(filled, form), _main(filled, form, reasons)]
    if rows := [_change_row(change) for change in filled.changes if change.own or not filled.has_own]:
        parts.append(table(rows, CHANGE_HEADER, form, ("left",) * 3 + ("right",) * 5))
    mark = "- " if form == "markdown" else ""
    notes = [*(f"({letter}) {reason}" for reason, letter in reasons.items()), *_marks(filled), *filled.notes]
    return "\n\n".join([*parts, "\n".join(mark + note for note in notes)])


def _title(filled: Filled, form: str) -> str:
    found = filled.table
    title = f"{title_of(found.name)} ({VERSIONS[found.version]}). {found.title}"
    return f"## {title}" if form == "markdown" else f"{title}\n{'=' * len(title)}"


def title_of(name: str) -> str:
    """ "table_5_v2" → "Table 5, v2"."""
    kind, number, version = name.split("_")
    return f"{kind.capitalize()} {number}, {version}"


def _marks(filled: Filled) -> Iterator[str]:
    if any(cell.partial for column in filled.columns for cell in column.own.values()):
        yield "* on a part of the documents (--limit, or failed samples)"
    if filled.table.table is None:
        yield f"{NOT_PRINTED}: the paper draws these figures and prints no numbers"


def _main(filled: Filled, form: str, reasons: dict[str, str]) -> str:
    blocks = {
        (column.name, figure): _block(filled, column, figure, reasons)
        for column in filled.columns
        for figure in filled.figures
    }
    lines = LINES if filled.has_own else LINES[:1]
    by_model = filled.table.down == "models"
    down: list[tuple[str, ...]]
    if by_model:
        down = [(column.label,) for column in filled.columns]
        header = ["model", "", *(f"{title(figure[0])} {figure[1]}" for figure in filled.figures)]
        cells = [[blocks[column.name, figure] for figure in filled.figures] for column in filled.columns]
    else:
        down = _headed(filled.figures)
        header = ["task", "metric", "", *(column.label for column in filled.columns)]
        cells = [[blocks[column.name, figure] for column in filled.columns] for figure in filled.figures]
    if form == "text":
        header = [broken(name) for name in header]
    rows = []
    for head, block in zip(down, cells, strict=True):
        for number_of_line, line in enumerate(lines):
            texts = [entry[number_of_line] for entry in block]
            if number_of_line == 0 or any(texts):
                rows.append([*(head if number_of_line == 0 else [""] * len(head)), line, *texts])
    align = ("left",) * (len(down[0]) + 1) + ("right",) * (len(header) - len(down[0]) - 1)
    return table(rows, header, form, align)


def _headed(figures: tuple[Figure, ...]) -> list[tuple[str, ...]]:
    """Titles and metrics of the lines, a title where it is new."""
    previous = ""
    found: list[tuple[str, ...]] = []
    for dataset, metric in figures:
        found.append(("" if dataset == previous else title(dataset), metric))
        previous = dataset
    return found


def title(dataset: str) -> str:
    """The paper's name of a data set, or that of the task."""
    task = dataset.removesuffix(HUMAN)
    name = TITLES.get(task, task)
    return f"{name}, rated by people" if dataset != task else name


def _block(filled: Filled, column: Column, figure: Figure, reasons: dict[str, str]) -> tuple[str, str, str, str]:
    """The lines of one figure of one model."""
    printed, cell = column.published.get(figure), column.own.get(figure)
    published = number(printed.value) if printed else _unprinted(filled, column, figure)
    if cell is None:
        return published, "", "", ""
    own = number(cell.value) + ("*" if cell.partial else "")
    return published, own, interval(cell.low, cell.high), _answer(cell, reasons)


def _unprinted(filled: Filled, column: Column, figure: Figure) -> str:
    """What stands for a figure that is not printed: of a drawn one the words, of others a dash."""
    is_papers = any(column.name == row.model for row in filled.table.rows) and figure[0] in filled.table.figures
    return NOT_PRINTED if is_papers and filled.table.table is None else MISSING


def _answer(cell: Cell, reasons: dict[str, str]) -> str:
    if cell.answer is None:
        return ""
    if cell.answer.consistent is not None:
        return ("yes" if cell.answer.consistent else "no") + ("*" if cell.partial else "")
    letter = reasons.setdefault(str(cell.answer), chr(ord("a") + len(reasons)))
    return f"({letter})"


def _change_row(change: Change) -> list[str]:
    dataset, metric = change.figure
    own = change.own
    return [
        f"{change.model} − {change.origin}",
        title(dataset),
        metric,
        MISSING if change.published is None else signed(change.published),
        MISSING if own is None else signed(own.difference),
        "" if own is None else f"{signed(own.low)} – {signed(own.high)}",
        "" if own is None else str(own.n),
        "" if own is None else f"{own.p:.3g}",
    ]


def _records(filled: Filled) -> Iterator[Mapping[str, Any]]:
    for column in filled.columns:
        for figure in filled.figures:
            printed, cell = column.published.get(figure), column.own.get(figure)
            if printed is None and cell is None:
                continue
            answer = None if cell is None else cell.answer
            yield {
                "table": filled.table.name,
                "source": VERSIONS[filled.table.version],
                "dataset": figure[0],
                "metric": figure[1],
                "model": column.label,
                "published": printed and printed.value,
                "own": cell and cell.value,
                "low": cell and cell.low,
                "high": cell and cell.high,
                "n": cell and cell.n,
                "of": cell and cell.of,
                "consistent": answer and answer.consistent,
                "reason": answer and answer.reason,
                "run": cell and cell.source,
            }

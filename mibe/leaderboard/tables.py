"""Leaderboards as text: for the terminal, Markdown, LaTeX, CSV, and JSON with everything.

Text, Markdown and LaTeX have two tables a setting: the figures in the shape of the paper's tables, and each own figure
beside a published one; and where own runs varied their documents, one of robustness and one of fairness. CSV has one
line a figure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mibe.analysis.text import write_csv
from mibe.leaderboard import costs
from mibe.leaderboard.board import Board
from mibe.leaderboard.cells import Cell, Column, Row
from mibe.leaderboard.versions import (
    FAIR_HEADER,
    ROBUST_HEADER,
    fair_lines,
    robust_lines,
    text_rows,
    version_figures,
)
from mibe.terminal.plain import printable

FORMATS = ("text", "csv", "markdown", "latex", "json")
STYLES = {"text": "simple", "markdown": "github", "latex": "latex_raw"}
TITLES = {"zero_shot": "Zero-shot", "few_shot": "Few-shot", "supervised": "Supervised (fine-tuned on each data set)"}
MISSING = "–"
OWN_HEADER = (
    *("model", "task", "metric", "own", "95 % interval", "n", "rank"),
    *("published", "own − published", "consistent?"),
)
MEAN_LINES = (("mean", ""), ("", "over tasks"), ("", "rank"))
BOLD = r"\textbf{"
"""What stands before a figure that is bold in LaTeX."""

WIDTH = 11
"""Characters of a column's header in the terminal; model names are broken at their hyphens."""


def render(boards: Sequence[Board], form: str) -> str:
    """The boards in one of `FORMATS`."""
    if form == "json":
        return json.dumps([as_data(board) for board in boards], ensure_ascii=False, indent=1)
    if form == "csv":
        return write_csv([line for board in boards for line in lines(board)])
    return "\n\n".join(_board(board, form) for board in boards)


def lines(board: Board) -> Iterator[dict[str, Any]]:
    """One flat record a figure, the rows of the CSV form; None where there is nothing to say."""
    for row in board.rows:
        for column in board.columns:
            if column in row.cells:
                yield _line(board, row, column, row.cells[column])
        for task, result in row.results.items():
            for name, figure, run in version_figures(result):
                yield _version_line(board, row, task, name, figure, printable(run.name))


def _version_line(
    board: Board, row: Row, task: str, name: str, figure: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """A figure that versions of documents give: no rank, and nothing published to set it against."""
    cell = Cell(**{key: figure[key] for key in ("value", "low", "high", "stderr", "n")}, source=source)
    return _line(board, row, Column(task, name), cell)


def _line(board: Board, row: Row, column: Column, cell: Cell) -> dict[str, Any]:
    difference, answer = cell.difference, cell.answer
    return {
        "setting": board.setting,
        "dataset": column.dataset,
        "metric": column.metric,
        "model": row.name,
        "own": row.own,
        "value": cell.value,
        "low": cell.low,
        "high": cell.high,
        "stderr": cell.stderr,
        "n": cell.n,
        "of": cell.of,
        "draws": cell.draws if row.own else None,
        "rank": board.rank(column, row),
        "tier": board.tier(column, row),
        "constant": cell.constant,
        "memorised": cell.evidence,
        "reference": difference and difference.reference,
        "published": difference and difference.published,
        "difference": difference and difference.value,
        "difference_low": difference and difference.low,
        "difference_high": difference and difference.high,
        "consistent": answer and answer.consistent,
        "consistent_reason": answer and answer.reason,
        "protocol": board.protocol if row.own else None,
        "source": cell.source,
        "note": cell.note,
    }


def as_data(board: Board) -> dict[str, Any]:
    """Everything of a board as JSON data."""
    return {
        "setting": board.setting,
        "paper": board.version,
        "protocol": board.protocol,
        "figures": list(lines(board)),
        "means": [
            {"model": row.name, "own": row.own, "value": mean.value, "low": mean.low, "high": mean.high}
            | {"tasks": mean.tasks, "rank": mean.rank, "ranked": mean.ranked, "tier": mean.tier}
            | {"partial": mean.partial, "constant": mean.constant, "memorised": mean.memorised}
            for row in board.rows
            if (mean := board.means.get(row.key)) is not None
        ],
        "costs": costs.as_data(board),
        "footnotes": [f"{note.dataset}: {note.note}" for note in board.footnotes],
        "remarks": board.remarks,
        "run_notes": board.run_notes,
    }


def number(value: float | None) -> str:
    """Three decimals, as in the paper."""
    return MISSING if value is None else f"{value:.3f}"


def signed(value: float) -> str:
    """Three decimals with a sign."""
    return f"{value:+.3f}".replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """Both bounds, or nothing where there are none."""
    return "" if low is None or high is None else f"{low:.3f} – {high:.3f}"


def documents(cell: Cell) -> str:
    """How many documents a figure is of, and of how many where that is a part."""
    return f"{cell.n} of {cell.of}" if cell.partial else str(cell.n)


def mean_cells(board: Board, row: Row) -> tuple[str, str, str]:
    """The mean of a row with its marks, how many tasks it is over, and its rank among means over the same tasks."""
    mean = board.means.get(row.key)
    if mean is None:
        return MISSING, MISSING, MISSING
    tasks = sum(column.headline for column in board.columns)
    # The only one with these tasks is the first of nobody.
    rank = MISSING if mean.rank is None or mean.ranked == 1 else f"{mean.rank} of {mean.ranked}"
    return number(mean.value) + mean.marks, f"{len(mean.tasks)} of {tasks}", rank


def _board(board: Board, form: str) -> str:
    title = TITLES[board.setting]
    head = {"text": f"{title}\n{'=' * len(title)}", "markdown": f"## {title}", "latex": f"% {title}"}[form]
    parts = [head, _figures(board, form)]
    if any(row.own for row in board.rows) and (own := _own(board)):
        parts.append(table(own, OWN_HEADER, form, ("left",) * 3 + ("right",) * 5 + ("right", "left")))
    for lines_of, header in ((robust_lines, ROBUST_HEADER), (fair_lines, FAIR_HEADER)):
        if found := text_rows(lines_of(board)):
            parts.append(table(found, header, form, ("left",) * 3 + ("right",) * (len(header) - 3)))
    notes = [*board.remarks, *board.run_notes, *(f"{note.dataset}: {note.note}" for note in board.footnotes)]
    if notes:
        mark = {"text": "", "markdown": "- ", "latex": "% "}[form]
        parts.append("\n".join(mark + note for note in notes))
    return "\n\n".join(parts)


def _figures(board: Board, form: str) -> str:
    """Data sets and metrics down, models across, as in the paper; the best complete figure of a line is marked."""
    header = ["task", "metric", *(_head(row, form) for row in board.rows)]
    body, previous = [], ""
    for column in board.columns:
        body.append(
            [
                column.dataset if column.dataset != previous else "",
                column.metric,
                *(_figure(board, row, column, form) for row in board.rows),
            ]
        )
        previous = column.dataset
    means = zip(*(mean_cells(board, row) for row in board.rows), strict=True)
    body += [[*start, *cells] for start, cells in zip(MEAN_LINES, means, strict=False)]
    body += costs.lines(board)
    return table(body, header, form, ("left", "left", *["right"] * len(board.rows)))


def _head(row: Row, form: str) -> str:
    name = f"own: {row.name}" if row.own else row.name
    return broken(name) if form == "text" else name


def broken(name: str) -> str:
    """A model's name in lines of at most `WIDTH` characters, as far as its hyphens and spaces permit."""
    lines, line = [], ""
    for piece in name.replace("-", "-\0").replace(" ", " \0").split("\0"):
        if line and len(line) + len(piece.rstrip()) > WIDTH:
            lines.append(line.rstrip())
            line = ""
        line += piece
    return "\n".join([*lines, line])


def _figure(board: Board, row: Row, column: Column, form: str) -> str:
    cell = row.cells.get(column)
    if cell is None:
        return MISSING
    text = number(cell.value) + cell.marks
    if board.rank(column, row) != 1:
        return text
    return {"text": text, "markdown": f"**{text}**", "latex": rf"{BOLD}{text}}}"}[form]


def _own(board: Board) -> list[list[str]]:
    return [
        [
            row.name,
            column.dataset,
            column.metric,
            number(cell.value) + cell.marks,
            interval(cell.low, cell.high),
            documents(cell),
            rank_text(board, column, row),
            "" if cell.difference is None else f"{number(cell.difference.published)} {cell.difference.reference}",
            difference_text(cell),
            "" if cell.answer is None else str(cell.answer),
        ]
        for row in board.rows
        if row.own
        for column in board.columns
        if (cell := row.cells.get(column)) is not None
    ]


def rank_text(board: Board, column: Column, row: Row) -> str:
    """The rank of a figure, of an own one with its tier where own models make several."""
    rank, tier = board.rank(column, row), board.tier(column, row)
    if rank is None:
        return MISSING
    tiers = {board.tier(column, other) for other in board.rows} - {None}
    return f"{rank} (tier {tier} of {len(tiers)})" if tier is not None and len(tiers) > 1 else str(rank)


def difference_text(cell: Cell) -> str:
    """An own figure minus the published one, with the interval."""
    found = cell.difference
    if found is None:
        return ""
    return f"{signed(found.value)} ({signed(found.low)} to {signed(found.high)})"


def table(rows: Sequence[Sequence[str]], header: Sequence[str], form: str, align: Sequence[str]) -> str:
    """Rows as a table in the form text, markdown or latex."""
    from tabulate import tabulate

    if form == "latex":
        rows, header = [list(map(_latex, row)) for row in rows], list(map(_latex, header))
    if form == "markdown":
        rows, header = [list(map(_markdown, row)) for row in rows], list(map(_markdown, header))
    return tabulate(rows, headers=header, tablefmt=STYLES[form], disable_numparse=True, colalign=align)


def _markdown(text: str) -> str:
    """No cell ends a column, a line or the page's own markup."""
    return " ".join(text.replace("|", r"\|").replace("<", "&lt;").split())


SPECIAL = {
    "†": r"\dag{}",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
}


def _latex(text: str) -> str:
    if text.startswith(BOLD):
        return BOLD + _latex(text.removeprefix(BOLD).removesuffix("}")) + "}"
    return "".join(SPECIAL.get(char, "\\" + char if char in "&%$#_{}" else char) for char in text)

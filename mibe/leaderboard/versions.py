"""What versions of documents tell of the own models of a board: robustness by way, fairness by attribute."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mibe.leaderboard.board import Board
from mibe.leaderboard.cells import Row
from mibe.leaderboard.runs import Result
from mibe.results.draws import spread_name
from mibe.results.notebook import REPORT
from mibe.results.variants import (
    BASELINE_FIGURE,
    DIVERGENCE,
    FLIPPED,
    all_name,
    figures_of_way,
    mean_name,
    worst_name,
)
from mibe.terminal.plain import printable

ROBUST_HEADER = (
    *("model", "task", "way", "versions", "documents", "mean", "sd, divisor K − 1", "worst", "right in all", "flipped"),
    *("p, no version differs", "p, no letter preferred"),
)
FAIR_HEADER = ("model", "task", "attribute", "vignettes", "divergence", "baseline", "excess", "p by Holm", "gaps")
MISSING = "–"

Line = dict[str, Any]


def robust_lines(board: Board) -> list[Line]:
    """One a model, task and way: the cells of `ROBUST_HEADER`, figures as `_figure` has them, and whence they are."""
    return [
        {
            "cells": {
                "model": row.name,
                "task": task,
                "way": way,
                "versions": str(of["versions"]),
                "documents": str(of["documents"]),
                **_of_headline(of, result.part["headline"]),
                "p": MISSING if of["p"] is None else f"{of['p']:.3f}",
                "letters": f"{of['letters']['p']:.3f}" if "letters" in of else MISSING,
            },
            **_whence(task, way, of),
        }
        for row, task, result in _own(board)
        for way, of in result.versions.items()
        if "divisor" in of
    ]


def _of_headline(of: Mapping[str, Any], headline: str) -> dict[str, Any]:
    names = (mean_name(headline), spread_name(headline), worst_name(headline), all_name(headline), FLIPPED)
    mean, sd, worst, in_all, flipped = (of["figures"].get(name) for name in names)
    least = MISSING if worst is None else f"{text_of(worst)} {printable(of['worst'])}"
    return {"mean": mean, "sd": sd, "worst": least, "in_all": in_all, "flipped": flipped}


def fair_lines(board: Board) -> list[Line]:
    """One a model, task and attribute: the cells of `FAIR_HEADER`, and whence they are."""
    return [
        {
            "cells": {
                "model": row.name,
                "task": task,
                "attribute": name,
                "vignettes": str(of["documents"]),
                "divergence": of["figures"][DIVERGENCE],
                "baseline": of["figures"][BASELINE_FIGURE],
                "excess": of["excess"],
                "p": f"{of['excess']['p_holm']:.3f}",
                "gaps": "; ".join(
                    f"{pair} {_signed(gap)}, p {gap['p_holm']:.3f}" for pair, gap in of.get("gaps", {}).items()
                ),
            },
            **_whence(task, name, of),
        }
        for row, task, result in _own(board)
        for name, of in result.versions.items()
        if "excess" in of
    ]


def _own(board: Board) -> Iterator[tuple[Row, str, Result]]:
    """The own results that have versions, in the order of the board."""
    return ((row, task, result) for row in board.rows for task, result in row.results.items() if result.versions)


def _whence(task: str, way: str, of: Mapping[str, Any]) -> Line:
    return {"run": of["run"], "address": f"versions/{quote(task)}/{quote(way)}"}


def version_figures(result: Result) -> Iterator[tuple[str, Mapping[str, Any], Path]]:
    """Every figure of a result's versions by its name, with the run that it is of."""
    for way, of in result.versions.items():
        yield from ((f"{way}:{name}", figure, of["run"]) for name, figure in figures_of_way(of).items())


def text_rows(lines: Sequence[Line]) -> list[list[str]]:
    """The lines as cells of text, figures with their intervals."""
    return [[text_of(cell) for cell in line["cells"].values()] for line in lines]


def text_of(cell: str | Mapping[str, Any] | None) -> str:
    """A cell: text as it is, a figure with its interval, a difference with signs."""
    if cell is None:
        return MISSING
    if isinstance(cell, str):
        return cell
    return _signed(cell) if "p_holm" in cell else f"{cell['value']:.3f} ({cell['low']:.3f} – {cell['high']:.3f})"


def _signed(found: Mapping[str, Any]) -> str:
    value, low, high = (f"{found[key]:+.3f}".replace("-", "−") for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def page_view(board: Board, folder: Path) -> dict[str, Any]:
    """What the page in `folder` shows; a line has a link to its samples where its run's report is there."""
    return {
        name: [
            {
                "cells": [text_of(cell) for cell in line["cells"].values()],
                "run": printable(line["run"].name),
                "link": _link(line["run"], line["address"], folder),
            }
            for line in lines
        ]
        for name, lines in (("robust", robust_lines(board)), ("fair", fair_lines(board)))
    } | {"robust_header": ROBUST_HEADER, "fair_header": FAIR_HEADER}


def _link(run: Path, address: str, folder: Path) -> str:
    """The relative address of these samples in the run's report; none where it is not written."""
    report = run / REPORT
    if not report.is_file():
        return ""
    return f"{quote(os.path.relpath(report.resolve(), folder.resolve()))}#{address}"

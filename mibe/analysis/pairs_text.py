"""The figures of a file of pairs as text: for the terminal, Markdown, CSV, and JSON with everything."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import Any

from mibe.analysis.pairs import PairFigures
from mibe.results.variants import BASELINE_FIGURE, DIVERGENCE
from mibe.terminal.plain import cell, printable

STYLES = {"text": "simple", "markdown": "github"}
HEADER = ("attribute", "figure", "value", "95 % interval", "n", "p", "p (Holm)")


def render(found: PairFigures, form: str) -> str:
    """The figures in "text", "markdown", "csv" or "json"."""
    if form == "json":
        return json.dumps(asdict(found), ensure_ascii=False, indent=1)
    rows = [row for attribute, part in found.fairness.items() for row in _rows(attribute, part)]
    if form == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["attribute", "figure", "value", "low", "high", "n", "p", "p_holm"])
        for attribute, name, figure in rows:
            numbers = [figure[key] for key in ("value", "low", "high", "n")]
            writer.writerow(map(cell, [attribute, name, *numbers, figure.get("p", ""), figure.get("p_holm", "")]))
        return out.getvalue().rstrip("\n")
    from tabulate import tabulate

    shown = [[printable(attribute), printable(name), *_cells(figure)] for attribute, name, figure in rows]
    align = ("left", "left", *["right"] * 5)
    table = tabulate(shown, headers=HEADER, tablefmt=STYLES[form], disable_numparse=True, colalign=align)
    notes = [
        f"{printable(attribute)}: {count} rows lack an answer and are left out"
        for attribute, count in found.incomplete.items()
        if count
    ]
    notes += [
        f"{printable(attribute)}: {count} verdicts of the judge cannot be read; these pairs are left out"
        for attribute, count in found.unread.items()
        if count
    ]
    notes += [
        f"{printable(attribute)}: {count} rows have no right answer; accuracies and gaps are without them"
        for attribute, count in found.untold.items()
        if count
    ]
    return "\n".join([table, *([""] if notes else []), *notes])


def _cells(figure: dict[str, Any]) -> list[str]:
    """Value, interval, number of documents, and where there is one p and what Holm's correction makes of it."""
    interval = f"{figure['low']:.3f} – {figure['high']:.3f}"
    tested = [f"{figure[key]:.3g}" if key in figure else "" for key in ("p", "p_holm")]
    return [f"{figure['value']:.3f}", interval, str(figure["n"]), *tested]


def _rows(attribute: str, part: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    figures = part["figures"]
    order = [DIVERGENCE, BASELINE_FIGURE, *(name for name in figures if "[" in name)]
    rows = [(attribute, name, figures[name]) for name in order if name in figures]
    rows += [(attribute, "divergence − baseline", part["excess"])] if "excess" in part else []
    return rows + [(attribute, f"accuracy {pair}", gap) for pair, gap in part.get("gaps", {}).items()]

"""Draw what versions of documents tell: a run's record → an SVG picture for the pages on robustness and fairness.

    python tools/draw_versions.py RUN TASK WAY docs/images/robustness.svg

A dot is a figure, a line its 95 % interval: for a way of `--vary` that changes nothing of what is asked the headline of
each version, and with options each letter; for an attribute its divergence, the baseline's, and accuracy by value.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from mibe.results.run import load_run

LEFT, WIDTH, ROW, TOP = 250, 420, 24, 34


def rows_of(part: Mapping[str, Any], way: str) -> dict[str, Mapping[str, float]]:
    """Label → figure, in the order in which they are drawn."""
    if way in part.get("fairness", {}):
        return dict(part["fairness"][way]["figures"])
    found = part["robustness"][way]
    rows = {f"{part['headline']}, version {name}": figure for name, figure in found["by_version"].items()}
    rows |= {name: found["figures"][name] for name in (f"{part['headline']}_in_all", "flipped")}
    return rows | found.get("letters", {}).get("figures", {})


def svg(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """The picture; its text takes the colour of the page."""
    height = TOP + ROW * len(rows) + 30

    def x(value: float) -> float:
        return round(LEFT + WIDTH * min(1.0, max(0.0, value)), 1)

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 30} {height}" font-family="sans-serif" '
        f'font-size="13" role="img" aria-label="{escape(title)}"><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="10" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawn.append(f'<path d="M{x(tick)} {TOP}V{height - 26}" stroke="#ddd"/>')
        drawn.append(f'<text x="{x(tick)}" y="{height - 8}" text-anchor="middle">{tick:g}</text>')
    for number, (name, figure) in enumerate(rows.items()):
        y = TOP + ROW * number + ROW // 2
        drawn.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        drawn.append(f'<path d="M{x(figure["low"])} {y}H{x(figure["high"])}" stroke="#27557b" stroke-width="2"/>')
        drawn.append(f'<circle cx="{x(figure["value"])}" cy="{y}" r="4.5" fill="#27557b"/>')
    return "\n".join([*drawn, "</svg>", ""])


def main() -> None:
    """Draw one way of one task."""
    run, task, way, path = sys.argv[1:]
    record = load_run(run).record
    part = record["tasks"][task]
    documents = (part.get("robustness", {}).get(way) or part["fairness"][way])["documents"]
    title = f"{task}, --vary {way}: {record['model']['name']}, {documents} documents"
    Path(path).write_text(svg(title, rows_of(part, way)), encoding="utf-8")


if __name__ == "__main__":
    main()

"""How a run shows itself: in one line, and as a table in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mibe.metrics.base import is_main
from mibe.results.draws import counted, every_figure
from mibe.results.table import remarks_on
from mibe.results.variants import shown_variants
from mibe.terminal.plain import printable

NAMED = 3
"""Tasks whose headline stands in the line."""

REPORT = Path("report") / "index.html"
"""Where `mibe report` writes its page in a run folder, unless it is told another place."""

STYLES = {"head": "text-align:left;font-weight:600", "text": "text-align:left", "number": "text-align:right"}


def line_of(path: Path, record: Mapping[str, Any]) -> str:
    """The run in one line: folder, model, status, and the headlines of its first tasks."""
    scored = [(name, part) for name, part in record["tasks"].items() if _headline(part) is not None]
    shown = [f"{printable(name)} {part['headline']} {_with_interval(_headline(part))}" for name, part in scored[:NAMED]]
    more = len(scored) - len(shown)
    shown += [f"{more} task{'s' if more > 1 else ''} more"] if more else []
    about = f"{printable(str(record['model']['name']))}, {record['status']}"
    return f"Run({printable(str(path))}: {'; '.join([about, *shown])})"


def html_of(path: Path, record: Mapping[str, Any]) -> str:
    """The run as HTML: its main figures with intervals, what must not be overlooked, and where its report is.

    Every text in it is escaped; it needs no script and no style of another place.
    """
    head = "".join(f'<th style="{STYLES["head"]}">{name}</th>' for name in ("task", "metric", "value", "95 %", "n"))
    rows = "".join(
        f"<tr>{''.join(_cell(*cell) for cell in row)}</tr>"
        for name, part in record["tasks"].items()
        for row in _rows(name, part)
    )
    notes = [note for name, part in record["tasks"].items() if part.get("figures") for note in remarks_on(name, part)]
    notes += [f"{name} was skipped: {why}" for name, why in (record.get("skipped") or {}).items()]
    items = "".join(f"<li>{_shown(note)}</li>" for note in notes)
    return (
        f"<div><p><b>{_shown(record['model']['name'])}</b>, {_shown(record['status'])}, protocol "
        f"{_shown(record['protocol'])}<br><code>{_shown(path)}</code>, {_report(path)}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"{f'<ul>{items}</ul>' if items else ''}</div>"
    )


def _headline(part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    figure: Mapping[str, Any] | None = (part.get("figures") or {}).get(part.get("headline"))
    return figure


def _with_interval(figure: Mapping[str, Any] | None) -> str:
    return "" if figure is None else f"{figure['value']:.3f} ({figure['low']:.3f} – {figure['high']:.3f})"


def _rows(name: str, part: Mapping[str, Any]) -> Iterator[list[tuple[str, str]]]:
    """The cells of a task's main figures, the headline first, each with its style."""
    if not part.get("figures"):
        yield [(name, "text"), ("not scored yet", "text"), *[("", "number")] * 3]
        return
    main = sorted(filter(is_main, part["figures"]), key=lambda metric: metric != part["headline"])
    figures = every_figure(part)
    for number, metric in enumerate([*main, *shown_variants(part)]):
        figure = figures[metric]
        yield [
            (name if number == 0 else "", "text"),
            (metric, "text"),
            (f"{figure['value']:.3f}", "number"),
            (f"{figure['low']:.3f} – {figure['high']:.3f}", "number"),
            (counted(part) if number == 0 else "", "number"),
        ]


def _cell(text: str, style: str) -> str:
    return f'<td style="{STYLES[style]}">{_shown(text)}</td>'


def _report(path: Path) -> str:
    """A link to the report where it is there, else the command that writes it.

    A notebook's page opens what lies below its own folder by a relative link alone; browsers keep it from others.
    """
    page = path / REPORT
    if not page.is_file():
        return f"report: <code>mibe report {_shown(path)}</code>"
    try:
        link = quote(str(page.resolve().relative_to(Path.cwd())))
    except ValueError:
        link = page.resolve().as_uri()
    return f'<a href="{escape(link)}" target="_blank">report</a>'


def _shown(value: object) -> str:
    return escape(printable(str(value)))

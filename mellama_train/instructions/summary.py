"""What was kept of each source beside the paper's numbers, as a table."""

from __future__ import annotations

from typing import Any, Literal

from tabulate import tabulate

from mellama_train.instructions.sources import PRINTED, ROWS, WITHOUT_NULLS

HEADERS = (
    "source",
    "paper",
    "read",
    "null",
    "contaminated",
    "duplicates",
    "near copies",
    "not drawn",
    "kept",
    "access",
)
COUNTED = ("read", "null", "contaminated", "duplicates", "near copies")


def table(manifest: dict[str, Any], form: Literal["text", "markdown"]) -> str:
    """One line a source under the line of its row in the paper's table 5, and the sums."""
    lines: list[tuple[str, ...]] = []
    kept_in_all = 0
    for row in ROWS:
        sources = {name: about for name, about in manifest["sources"].items() if about["row"] == row.title}
        if row.size is None and not sources:
            continue
        kept = sum(about["counts"]["kept"] for about in sources.values())
        kept_in_all += kept
        printed = "" if row.size is None else f"{row.size:,}"
        lines.append((row.title, printed, *[""] * 6, f"{kept:,}" if sources else "not given", ""))
        lines += [_line(name, about) for name, about in sources.items()]
    lines.append(("sum", f"{PRINTED:,}", *[""] * 6, f"{kept_in_all:,}", ""))
    lines.append(("without nulls", f"{WITHOUT_NULLS:,}", *[""] * 8))
    style = "github" if form == "markdown" else "simple"
    aligned = ("left", *["right"] * 8, "left")
    return str(tabulate(lines, HEADERS, tablefmt=style, colalign=aligned, disable_numparse=True))


def not_drawn(counts: dict[str, int]) -> int:
    """Items that were sound and that the draw had no place for."""
    gone = ("null", "contaminated", "duplicates", "near copies", "kept")
    return counts["read"] - sum(counts.get(what, 0) for what in gone)


def _line(name: str, about: dict[str, Any]) -> tuple[str, ...]:
    counts = about["counts"]
    counted = (f"{counts.get(what, 0):,}" for what in COUNTED)
    return (f"· {name}", "", *counted, f"{not_drawn(counts):,}", f"{counts['kept']:,}", about["access"])

"""What was found as text: for the terminal, Markdown, CSV, and JSON with everything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mibe.analysis.text import write_csv
from mibe.memorisation.record import AGAINST, LEVEL, Memorisation
from mibe.terminal.plain import printable

STYLES = {"text": "simple", "markdown": "github"}
HEADER = ("task", "test", "against", "n", "wins", "95 % interval", "p", "p (Holm)", "memorised")


def render(found: Memorisation, form: str) -> str:
    """The record in "text", "markdown", "csv" or "json"."""
    if form == "json":
        return json.dumps(found.record, ensure_ascii=False, indent=1)
    if form == "csv":
        return write_csv([{"task": task, "test": name, **entry} for task, name, entry in _entries(found.record)])
    from tabulate import tabulate

    rows = [
        [
            *(printable(task), printable(name), AGAINST[entry["against"]], str(entry["comparisons"])),
            *(f"{entry['wins']:.3f}", f"{entry['low']:.3f} – {entry['high']:.3f}"),
            *(f"{entry['p']:.2g}", f"{entry['p_holm']:.2g}", "yes" if entry["p_holm"] < LEVEL else "not shown"),
        ]
        for task, name, entry in _entries(found.record)
    ]
    align = ("left",) * 3 + ("right",) * 5 + ("left",)
    table = tabulate(rows, headers=HEADER, tablefmt=STYLES[form], disable_numparse=True, colalign=align)
    return "\n".join([table, "", *notes(found)])


def notes(found: Memorisation) -> Iterator[str]:
    """What must be read with the figures, one line each."""
    record = found.record
    yield (
        f"{printable(record['model']['name'])}: wins are the share of comparisons in which the question as given scores"
        f" above what it is compared with (chance: 0.5); memorised: p (Holm) < {LEVEL}"
    )
    for task, part in record["tasks"].items():
        if part["data"]["documents"] < part["data"]["of"]:
            yield f"{task}: {part['data']['documents']:,} of {part['data']['of']:,} questions"
        reasons: dict[str, list[str]] = {}
        for name, why in part["left_out"].items():
            reasons.setdefault(why, []).append(name)
        for why, names in reasons.items():
            yield f"{task}: without {', '.join(names)}: {printable(why)}"
    if record["reference"] is not None:
        file, questions = printable(record["reference"]["file"]), record["reference"]["questions"]
        yield f"reference: {file}, {questions:,} questions; nothing here can tell that only their date is another"
    for line in record["training"]:
        yield f"training: {printable(line)}"


def _entries(record: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for task, part in record["tasks"].items():
        for name, entry in part["tests"].items():
            yield task, name, entry

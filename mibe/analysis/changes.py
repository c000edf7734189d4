"""What scoring a run again has changed, and why: versions of tasks, readings of outputs, figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mibe.metrics.base import is_main
from mibe.results.digests import identity
from mibe.results.log import Row
from mibe.task import Outcome

SHOWN = 5
"""How many samples of each kind are named."""

NEWLY, NO_LONGER, OTHERWISE = "newly_read", "no_longer_read", "read_otherwise"
WORDS = {NEWLY: "read that was not", NO_LONGER: "not read any more", OTHERWISE: "read as another answer"}


def changes(
    old: Mapping[str, Any], new: Mapping[str, Any], before: Iterable[Row], after: Iterable[Row]
) -> dict[str, Any]:
    """Of two parts of a record and the rows of both logs: versions, main figures, and what is read otherwise.

    Of each kind of reading "count", and the ids of the first few.
    """
    rows = {identity(row): row for row in after}
    read: dict[str, list[str]] = {kind: [] for kind in WORDS}
    for row in before:
        kind = _kind(row, rows[identity(row)])
        if kind is not None:
            read[kind].append(row["id"])
    figures = {
        name: [old["figures"][name]["value"], figure["value"]]
        for name, figure in new["figures"].items()
        if is_main(name) and name in old["figures"] and old["figures"][name]["value"] != figure["value"]
    }
    clusters = new["clusters"] if "clusters" not in old and new["clusters"] < new["scored"] else None
    readings = {kind: {"count": len(ids), "first": ids[:SHOWN]} for kind, ids in read.items()}
    return {"version": [old["version"], new["version"]], "figures": figures, "clusters": clusters, **readings}


def _kind(before: Row, after: Row) -> str | None:
    was, is_now = (row["outcome"] == Outcome.PARSED for row in (before, after))
    if was and is_now:
        return OTHERWISE if before["prediction"] != after["prediction"] else None
    return {(False, True): NEWLY, (True, False): NO_LONGER}.get((was, is_now))


def describe(name: str, found: Mapping[str, Any]) -> list[str]:
    """The changes of one task, a line each."""
    old, new = found["version"]
    why = f"version {old} → {new}" if old != new else f"version {old} as before"
    values = [f"{figure} {before:.3f} → {after:.3f}" for figure, (before, after) in found["figures"].items()]
    lines = [f"{name}: {why}; {', '.join(values) or 'every figure has the value it had'}"]
    for kind, words in WORDS.items():
        count, first = found[kind]["count"], found[kind]["first"]
        if count:
            more = ", …" if count > len(first) else ""
            lines.append(f"{name}: {count} {words}: {', '.join(first)}{more}")
    if found["clusters"]:
        lines.append(f"{name}: intervals go by {found['clusters']} clusters of samples, which they did not")
    return lines

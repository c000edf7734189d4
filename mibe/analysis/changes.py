"""What scoring a run again has changed, and why: versions of tasks, readings of outputs, figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mibe.metrics.base import is_main
from mibe.results.log import Row
from mibe.task import Outcome

SHOWN = 5
"""How many samples of each kind are named."""

NEWLY, NO_LONGER, OTHERWISE = "newly_read", "no_longer_read", "read_otherwise"
WORDS = {NEWLY: "read that was not", NO_LONGER: "not read any more", OTHERWISE: "read as another answer"}


def changes(old: Mapping[str, Any], new: Mapping[str, Any], read: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Of two parts of a record, and the ids by kind of reading: versions, main figures, and what is read otherwise.

    Of each kind of reading "count", and the ids of the first few.
    """
    figures = {
        name: [old["figures"][name]["value"], figure["value"]]
        for name, figure in new["figures"].items()
        if is_main(name) and name in old["figures"] and old["figures"][name]["value"] != figure["value"]
    }
    clusters = new["clusters"] if "clusters" not in old and new["clusters"] < new["scored"] else None
    readings = {kind: {"count": len(ids := read.get(kind, [])), "first": list(ids[:SHOWN])} for kind in WORDS}
    return {"version": [old["version"], new["version"]], "figures": figures, "clusters": clusters, **readings}


def kind_of(before: Row, after: Row) -> str | None:
    """What scoring again has made of one reading, None where that is what it was."""
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

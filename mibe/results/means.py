"""Means over the tasks of a run, and over those of its groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mibe.metrics.means import Bounded, mean_of
from mibe.registry import list_groups


def means_of(tasks: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What it is of → mean of the headline figures with its interval, and its tasks: of all, and of each whole group.

    There is none of a single task, and none with a task that has no figure yet.
    """
    scored = {name for name, task in tasks.items() if task.get("figures", {}).get(task.get("headline"))}
    found = {f"mean of {len(tasks)} tasks": tuple(tasks)}
    found |= {f"mean of {group}": members for group, members in list_groups().items() if set(members) < set(tasks)}
    return {
        name: {**_mean(tasks, members)._asdict(), "tasks": list(members)}
        for name, members in found.items()
        if len(members) > 1 and set(members) <= scored
    }


def _mean(tasks: Mapping[str, Any], names: Sequence[str]) -> Bounded:
    figures = [tasks[name]["figures"][tasks[name]["headline"]] for name in names]
    sources = [(tasks[name].get("data") or {}).get("sha256") or name for name in names]
    return mean_of([Bounded(*(figure[key] for key in ("value", "low", "high"))) for figure in figures], sources)

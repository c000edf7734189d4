"""Runs that ask each document several times: what a task's part of the record says of the draws.

It has "repeats" where there are several, and none in other runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mibe.results.digests import draw_of
from mibe.results.variants import is_itself, variant_figures


def first_draws(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of each document, as it is, the first draw alone: what a person rates, and what a judge is compared with a
    person on."""
    return (row for row in rows if draw_of(row) == 0 and is_itself(row))


CHANGED = "changed"
"""The figure that says of how many documents the answer changes between draws."""


def mean_name(metric: str, draws: int) -> str:
    """How a figure over all draws is called where a reader might take it for that of one."""
    return f"{metric}_avg@{draws}"


def spread_name(metric: str) -> str:
    """The standard deviation of a figure between draws."""
    return f"{metric}_sd"


def vote_name(metric: str, draws: int) -> str:
    """A figure of the majority's answers."""
    return f"{metric}_maj@{draws}"


def pass_name(metric: str, k: int) -> str:
    """How often one of k draws is right."""
    return f"{metric}_pass@{k}"


def repeats_figures(task: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that a task's draws give beside their mean; none where there is one draw a document."""
    return dict((task.get("repeats") or {}).get("figures", {}))


def every_figure(task: Mapping[str, Any]) -> dict[str, Any]:
    """All figures of a task, those of its draws and of its documents' versions after the others."""
    return {**task["figures"], **repeats_figures(task), **variant_figures(task)}


def draws_of(task: Mapping[str, Any]) -> int:
    """How many draws of each document a task's figures are the mean of."""
    return int((task.get("repeats") or {}).get("draws", 1))


def counted(task: Mapping[str, Any]) -> str:
    """What a task's figures are of: "500", "500 × 5" draws, "5716 in 191" clusters (none in older records)."""
    documents, draws = documents_scored(task), draws_of(task)
    samples = str(documents) if draws == 1 else f"{documents} × {draws}"
    return f"{samples} in {task['clusters']}" if is_clustered(task) else samples


def is_clustered(task: Mapping[str, Any]) -> bool:
    """Whether documents of a task's figures share something, so that there are fewer clusters than documents."""
    documents = documents_scored(task)
    return bool(task.get("clusters", documents) < documents)


def documents_scored(task: Mapping[str, Any]) -> int:
    """Documents that have a score, in one draw at least."""
    return int(task["repeats"]["documents"] if task.get("repeats") else task["scored"])

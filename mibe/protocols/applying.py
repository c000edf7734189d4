"""Protocols: ways to ask and score a task. `default` is the task as it is; `paper` is what the released code did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mibe.errors import UsageError
from mibe.protocols.styles import in_style
from mibe.task import Task

if TYPE_CHECKING:
    from mibe.models.base import Model

PROTOCOLS = ("default", "paper")


def apply(protocol: str, task: Task) -> Task:
    """The task under a protocol.

    Raises
    ------
    UsageError
        For an unknown protocol, or a task that the released code has no rule for.
    ModelError
        When a package that the protocol needs for this task is not installed.
    """
    if protocol == "default":
        return task
    if protocol == "paper":
        from mibe.protocols import paper

        return paper.apply(task)
    raise UsageError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")


def recorded(record: Mapping[str, Any], task: Task) -> Task:
    """The task as the run with this record asked and read it."""
    return in_style(record["settings"].get("prompt_style", "direct"), apply(record["protocol"], task))


def for_model(protocol: str, task: Task, model: Model) -> Task:
    """A task under its protocol as this model is asked: `paper` lets the answers of a chat API be longer."""
    if protocol == "default":
        return task
    from mibe.protocols import paper

    return paper.for_model(task, model)

"""Protocols: ways to ask and score a task. `default` is the task as it is; `paper` is what the released code did."""

from __future__ import annotations

from mibe.errors import UsageError
from mibe.task import Task

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

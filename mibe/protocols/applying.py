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
PROMPTS = ("table", "released")
"""Wordings: that of the paper's table A2, and that of the builder that was released with it."""
OWN_PROMPTS: Mapping[str, str] = {"default": "table", "paper": "released"}
"""Protocol → its own wording."""


def apply(protocol: str, task: Task, prompts: str | None = None) -> Task:
    """The task under a protocol, in its own wording or in one of `PROMPTS`.

    Raises
    ------
    UsageError
        For an unknown protocol or wording, for a task that the released code has no rule for, and for a wording that
        asks for another answer than is read.
    ModelError
        When a package that the protocol needs for this task is not installed.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    if prompts is not None and prompts not in PROMPTS:
        raise UsageError(f"unknown prompts {prompts!r}; known: {', '.join(PROMPTS)}")
    prompts = prompts or OWN_PROMPTS[protocol]
    if (protocol, prompts) == ("default", "table"):
        return task
    from mibe.protocols import paper

    return paper.apply(task, prompts) if protocol == "paper" else paper.in_released_words(task)


def recorded(record: Mapping[str, Any], task: Task) -> Task:
    """The task as the run with this record asked and read it."""
    settings = record["settings"]
    return in_style(settings.get("prompt_style", "direct"), apply(record["protocol"], task, settings.get("prompts")))


def for_model(protocol: str, task: Task, model: Model) -> Task:
    """A task under its protocol as this model is asked: `paper` lets the answers of a chat API be longer."""
    if protocol == "default":
        return task
    from mibe.protocols import paper

    return paper.for_model(task, model)

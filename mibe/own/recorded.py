"""The tasks of a run: those that it was made with, also where nobody registered them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mibe.own.source import OwnSource, source_from
from mibe.registry import load_task
from mibe.task import Task

KEY = "own_tasks"
"""The key of a run record: name → what the run knew of a task of the user's own."""

DECIDING = ("kind", "labels", "aliases", "answer_only", "most_labels", "metrics")
"""Keys of a task file that decide how an answer is read and scored."""


def task_of(record: Mapping[str, Any], name: str) -> Task:
    """A task of the run with this record.

    One that the user added is today's, as a built-in task is, if it is still there; one that was read from a file is as
    the record describes it. Raises `UsageError` for a task that is known to neither.
    """
    found = record.get(KEY, {}).get(name)
    if found is None:
        return load_task(name)
    from mibe.own.added import added_task
    from mibe.own.building import build
    from mibe.own.opening import reopened

    source = source_from(found, name)
    if source.files:
        return reopened(source)
    return added_task(name) or build(source.description, source)


def recorded_tasks(tasks: Mapping[str, Task]) -> dict[str, Any]:
    """What a run record says of the user's own tasks: nothing where there are none."""
    own = {name: task.source.recorded() for name, task in tasks.items() if isinstance(task.source, OwnSource)}
    return {KEY: own} if own else {}


def descriptions(tasks: Iterable[Task]) -> list[dict[str, Any]]:
    """The task files of those tasks that are the user's own: what makes two runs of one name different ones."""
    return [task.source.recorded()["description"] for task in tasks if isinstance(task.source, OwnSource)]


def read_otherwise(a: Mapping[str, Any], b: Mapping[str, Any], name: str) -> list[str]:
    """The keys of a task file, told by the records of two runs, in which answers are read or scored otherwise."""
    ours, theirs = (record.get(KEY, {}).get(name, {}).get("description", {}) for record in (a, b))
    return [key for key in DECIDING if ours.get(key) != theirs.get(key)]

"""Names to tasks and groups. Built-ins load when named; others come from the entry-point group `mibe.tasks`."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from mibe.errors import UsageError
from mibe.task import Task
from mibe.tasks import GROUPS, TASKS

_REGISTERED: dict[str, Task] = {}


def list_tasks() -> list[str]:
    """Names of all tasks: the built-in ones in the order of the paper, those of installed plugins, registered ones."""
    return [*TASKS, *(name for name in _plugins() if name not in TASKS), *_REGISTERED]


def register_task(task: Task) -> None:
    """Make a task known by its name for as long as this process lives; a plugin makes it known to every process.

    Raises `UsageError` for a name that another task or a group has.
    """
    if task.name in (*TASKS, *GROUPS, *_plugins()) or _REGISTERED.get(task.name, task) != task:
        raise UsageError(f"the name {task.name!r} is taken; give the task another")
    _REGISTERED[task.name] = task


def list_groups() -> dict[str, tuple[str, ...]]:
    """Group name → names of its tasks."""
    return dict(GROUPS)


@cache
def load_task(name: str) -> Task:
    """The task of this name. Raises `UsageError` with the nearest names when there is none."""
    if name in TASKS:
        module, _, attribute = TASKS[name].partition(":")
        task = getattr(import_module(module), attribute)
    elif name in _plugins():
        task = _plugins()[name].load()
    elif name in _REGISTERED:
        task = _REGISTERED[name]
    else:
        raise unknown("task", name, [*list_tasks(), *GROUPS])
    if not isinstance(task, Task) or task.name != name:
        raise UsageError(f"the entry point {name!r} of the group mibe.tasks is not a mibe.task.Task of that name")
    return task


def resolve(names: str | Iterable[str]) -> list[Task]:
    """Tasks and groups by name ("pubmedqa,ddi", or a list), each task once, in the order given."""
    wanted = names.split(",") if isinstance(names, str) else list(names)
    wanted = [name.strip() for name in wanted if name.strip()]
    if not wanted:
        raise UsageError("no task was named; `mibe tasks` lists them")
    members = [member for name in wanted for member in GROUPS.get(name, (name,))]
    return [load_task(name) for name in dict.fromkeys(members)]


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for an unknown name, with the nearest known ones."""
    close = get_close_matches(name.lower(), list(known), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(known))}"
    return UsageError(f"unknown {kind} {name!r}; {hint}")


@cache
def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="mibe.tasks")}

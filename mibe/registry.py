"""Names to tasks and groups: names alone, so that all may look here.

Built-ins load when named; others come from the entry-point group `mibe.tasks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from mibe.errors import UsageError, unknown
from mibe.task import Task

TASKS = {
    "pubmedqa": "mibe.tasks.pubmedqa:TASK",
    "medqa": "mibe.tasks.medqa:TASK",
    "medqa_4": "mibe.tasks.medqa:FOUR_OPTIONS",
    "medmcqa": "mibe.tasks.medmcqa:TASK",
    "emrqa": "mibe.tasks.emrqa:TASK",
    "i2b2": "mibe.tasks.i2b2:TASK",
    "ddi": "mibe.tasks.ddi:TASK",
    "hoc": "mibe.tasks.hoc:TASK",
    "mtsample": "mibe.tasks.mtsample:TASK",
    "pubmedsum": "mibe.tasks.pubmedsum:TASK",
    "mimic_cxr": "mibe.tasks.mimic_cxr:TASK",
    "bionli": "mibe.tasks.bionli:TASK",
    "mednli": "mibe.tasks.mednli:TASK",
    "mmlu": "mibe.tasks.mmlu:TASK",
    "mmlu_medical": "mibe.tasks.mmlu:MEDICAL",
    "nejm_cpc": "mibe.tasks.nejm_cpc:TASK",
    "bc5cdr": "mibe.tasks.bc5cdr:TASK",
    "sumpubmed": "mibe.tasks.sumpubmed:TASK",
    "diagnosis_open": "mibe.tasks.diagnosis_open:TASK",
}
"""Name → "module:attribute" of a built-in task, in the order of the paper."""

GROUPS = {
    "mibe": (
        "pubmedqa",
        "medqa",
        "medmcqa",
        "emrqa",
        "i2b2",
        "ddi",
        "hoc",
        "mtsample",
        "pubmedsum",
        "mimic_cxr",
        "bionli",
        "mednli",
    ),
    "mibe_open": (
        "pubmedqa",
        "medqa",
        "medmcqa",
        "bc5cdr",
        "ddi",
        "hoc",
        "mtsample",
        "sumpubmed",
        "mmlu",
        "diagnosis_open",
    ),
    "qa": ("pubmedqa", "medqa", "medmcqa", "emrqa"),
    "ner": ("i2b2",),
    "relation_extraction": ("ddi",),
    "classification": ("hoc", "mtsample"),
    "summarization": ("pubmedsum", "mimic_cxr"),
    "nli": ("bionli", "mednli"),
    "diagnosis": ("nejm_cpc",),
    "forgetting": ("mmlu", "medqa"),
}
"""Group → tasks, by name on the command line wherever a task is."""

_REGISTERED: dict[str, Task] = {}
_EXPLAINED: dict[str, str] = {}


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
    load_task.cache_clear()


def forget_task(name: str) -> None:
    """Take a registered task back, so that another may have its name."""
    _REGISTERED.pop(name, None)
    load_task.cache_clear()


def explain(name: str, why: str) -> None:
    """Say why a task that somebody will ask for is not known: `load_task` then raises `UsageError` with `why`."""
    _EXPLAINED[name] = why


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
    elif name in _EXPLAINED:
        raise UsageError(_EXPLAINED[name])
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


@cache
def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="mibe.tasks")}

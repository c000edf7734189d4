"""Names to tasks and groups: names alone, so that all may look here.

Built-ins load when named; others come from the entry-point group `mibe.tasks`, or are the user's own (`mibe data add`).
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mibe.errors import UsageError, all_unknown, unknown
from mibe.task import Task
from mibe.terminal.news import say

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
    "gpqa_biology": "mibe.tasks.gpqa_biology:TASK",
    "nejm_medqa": "mibe.tasks.nejm_medqa:TASK",
    "clip": "mibe.tasks.clip:TASK",
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

ADDED = "mibe.own.added"
"""Where the user's own tasks are looked up: a room above this one, so it is named and not imported."""

ALIASES = {
    "ddi2013": "ddi",
    "mimicsum": "mimic_cxr",
    "medqa_4options": "medqa_4",
}
"""Names of the released code and of lm-eval, in lower case → name here. Those that differ by case alone need no entry,
nor do the names of `mibe lm-eval`, which begin with "mibe_"."""

_REGISTERED: dict[str, Task] = {}
_EXPLAINED: dict[str, str] = {}


def list_tasks() -> list[str]:
    """All names: the built-in ones in the order of the paper, those of plugins, the user's own, registered ones."""
    names = [*TASKS, *_plugins(), *import_module(ADDED).added_names(), *_REGISTERED]
    return list(dict.fromkeys(names))


def is_taken(name: str) -> bool:
    """Whether a built-in task, a group or a plugin has the name."""
    return name in TASKS or name in GROUPS or name in _plugins()


def register_task(task: Task) -> None:
    """Make a task known by its name for as long as this process lives; a plugin makes it known to every process.

    Raises `UsageError` for a name that another task or a group has.
    """
    if is_taken(task.name) or _REGISTERED.get(task.name, task) != task:
        raise UsageError(f"the name {task.name!r} is taken; give the task another")
    _REGISTERED[task.name] = task


def forget_task(name: str) -> None:
    """Take a registered task back, so that another may have its name."""
    _REGISTERED.pop(name, None)


def explain(name: str, why: str) -> None:
    """Say why a task that somebody will ask for is not known: `load_task` then raises `UsageError` with `why`."""
    _EXPLAINED[name] = why


def list_groups() -> dict[str, tuple[str, ...]]:
    """Group name → names of its tasks."""
    return dict(GROUPS)


def name_here(name: str) -> str | None:
    """What a task or group is called here that others call `name` (DDI2013, mibe_pubmedqa); None where it is none."""
    known = [*list_tasks(), *GROUPS]
    if name in known:
        return name
    lower = name.lower()
    by_lower = {each.lower(): each for each in known} | ALIASES
    return by_lower.get(lower) or by_lower.get(lower.removeprefix("mibe_"))


def load_task(name: str) -> Task:
    """The task of this name, or of the one that it has elsewhere. Raises `UsageError` with the nearest names when there
    is none."""
    if name in _REGISTERED:
        return _REGISTERED[name]
    here = name_here(name)
    if here is not None and here != name and here not in GROUPS:
        _say_once(f"the task {name} is {here} here")
        return load_task(here)
    if name in TASKS:
        module, _, attribute = TASKS[name].partition(":")
        task = getattr(import_module(module), attribute)
    elif name in _plugins():
        task = opened(_plugins()[name])
    elif name in _EXPLAINED:
        raise UsageError(_EXPLAINED[name])
    else:
        task = import_module(ADDED).added_task(name)
        if task is None:
            raise unknown("task", name, [*list_tasks(), *GROUPS])
    if not isinstance(task, Task) or task.name != name:
        raise UsageError(f"the entry point {name!r} of the group mibe.tasks is not a mibe.task.Task of that name")
    return task


def opened(point: EntryPoint) -> Any:
    """What the entry point of another package names. Raises `UsageError` where its code cannot be loaded."""
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # Another package's code may raise whatever it likes.
        owner = f" of the package {point.dist.name}" if point.dist else ""
        raise UsageError(
            f"the entry point {point.name!r} of the group {point.group}{owner} cannot be loaded: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ) from error


def all_tasks() -> list[Task]:
    """Every task that can be loaded; of each other one a line says why it is not there."""
    found = []
    for name in list_tasks():
        try:
            found.append(load_task(name))
        except UsageError as error:
            say(str(error))
    return found


def resolve(names: str | Iterable[str]) -> list[Task]:
    """Tasks and groups by name ("pubmedqa,ddi", or a list), each task once, in the order given.

    A pattern with `*` or `?` stands for the tasks whose names match it. Raises `UsageError` that tells of every
    unknown name.
    """
    wanted = names.split(",") if isinstance(names, str) else list(names)
    wanted = [each for name in wanted if name.strip() for each in _matching(name.strip())]
    if not wanted:
        raise UsageError("no task was named; `mibe tasks` lists them")
    if strange := [name for name in wanted if name_here(name) is None]:
        raise all_unknown("task", strange, [*list_tasks(), *GROUPS])
    members = [member for name in wanted for member in GROUPS.get(name_here(name) or name, (name,))]
    return list({task.name: task for task in map(load_task, members)}.values())


def _matching(name: str) -> list[str]:
    """The tasks that match a pattern; what is no pattern, or matches nothing, as it is."""
    if not set("*?") & set(name):
        return [name]
    pattern = name.lower()
    found = [task for task in list_tasks() if fnmatchcase(task, pattern) or fnmatchcase(f"mibe_{task}", pattern)]
    if found:
        _say_once(f"the tasks {name} are {', '.join(found)}")
    return found or [name]


@cache
def _say_once(text: str) -> None:
    say(text)


@cache
def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="mibe.tasks")}

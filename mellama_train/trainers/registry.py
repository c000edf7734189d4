"""Names to trainers: those of this package, and plugins by the entry-point group `mellama_train.trainers`.

Each is loaded when it is asked for. One that cannot be loaded is told of in a line, and leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mellama_train.errors import PluginError
from mellama_train.recipe.problems import TRAINER_KEY
from mellama_train.trainers.contract import Trainer
from mellama_train.trainers.plugins import guarded, why
from mibe.errors import unknown

GROUP = "mellama_train.trainers"

BUILTIN = {
    "pretrain": "mellama_train.trainers.stages:PRETRAIN",
    "instruct": "mellama_train.trainers.stages:INSTRUCT",
    "finetune": "mellama_train.trainers.stages:FINETUNE",
    "grpo": "mellama_train.trainers.grpo:GRPO",
    "dpo": "mellama_train.trainers.dpo:DPO",
}
"""Name → "module:attribute" of a trainer of this package, in the order of use."""


@dataclass(frozen=True, slots=True)
class Found:
    """An entry of the list of trainers: the package it comes from, and the trainer or why there is none."""

    name: str
    package: str
    trainer: Trainer[Any] | None
    problem: str | None = None


def list_trainers() -> list[str]:
    """All names: those of this package, then those of plugins."""
    return list(_points())


def find_trainer(name: str) -> Trainer[Any]:
    """The trainer of this name.

    Raises `UsageError` with the nearest names where there is none, and `PluginError` for one that cannot be loaded or
    does not keep to the contract.
    """
    points = _points()
    if name not in points:
        raise unknown("trainer", name, points)
    return _load(points[name])


def found_trainers() -> Iterator[Found]:
    """Every trainer, each loaded, or with a line on why it is not."""
    used = _points()
    for point in _all_points():
        if used[point.name] is not point:
            owner = _package(used[point.name])
            problem = f"{_called(point)} is not used: its name is that of a trainer of {owner}"
            yield Found(point.name, _package(point), None, problem)
            continue
        try:
            yield Found(point.name, _package(point), _load(point))
        except PluginError as error:
            yield Found(point.name, _package(point), None, str(error))


def forget_plugins() -> None:
    """Look for the installed packages' trainers again, as after an installation in a process that lives on."""
    _all_points.cache_clear()
    _points.cache_clear()


def _load(point: EntryPoint) -> Trainer[Any]:
    where = _called(point)
    try:
        found = point.load()
    except (Exception, SystemExit) as error:  # Another package's code may raise whatever it likes.
        raise PluginError(f"{where} cannot be loaded: {why(error)}") from error
    if problem := _misfit(found, point.name):
        raise PluginError(f"{where} ({point.value}) is no trainer: {problem} (docs/add-a-trainer.md)")
    assert isinstance(found, Trainer)
    return found if point.dist is None else guarded(found, where)


def _misfit(found: object, name: str) -> str | None:
    """In what a plugin does not keep to the contract."""
    if not isinstance(found, Trainer):
        return f"it is a {type(found).__name__}, and should be a mellama_train.trainers.contract.Trainer"
    if found.name != name:
        return f"it calls itself {found.name!r}"
    keys = {field.name for field in fields(found.recipe)} if is_dataclass(found.recipe) else set()
    if "output" not in keys:
        return "its recipe is no dataclass with a field output"
    return f"its recipe has a field {TRAINER_KEY}, a key that is the command line's" if TRAINER_KEY in keys else None


def _called(point: EntryPoint) -> str:
    return f"the trainer {point.name} of {_package(point)}"


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "mibe"


@cache
def _all_points() -> tuple[EntryPoint, ...]:
    own = (EntryPoint(name, value, GROUP) for name, value in BUILTIN.items())
    return (*own, *entry_points(group=GROUP))


@cache
def _points() -> dict[str, EntryPoint]:
    """By name; of several of one name the first."""
    points: dict[str, EntryPoint] = {}
    for point in _all_points():
        points.setdefault(point.name, point)
    return points

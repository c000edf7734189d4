"""Gold labels that are none: found when data is prepared and when a run is planned, before any model answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from mibe.errors import DataError
from mibe.task import Example, Task, Value

Strange = tuple[str, str]
"""Where an example stands (its id, and its split where there are several), and its target as it is."""


def check_splits(name: str, splits: Mapping[str, Iterable[Example]], labels: Collection[str]) -> None:
    """Raise `DataError` naming every example of a data set whose target is not among the labels (none: all may be)."""
    refuse(name, [(f"{s} {e.id}", repr(e.target)) for s in splits for e in splits[s] if not is_known(e.target, labels)])


def checked(task: Task, placed: Iterable[tuple[int, Example]]) -> Iterator[tuple[int, Example]]:
    """The examples as they come, for whoever reads all of them anyway; raises like `check_splits` after the last."""
    labels = frozenset(task.labels)
    strange: list[Strange] = []
    for place, example in placed:
        if not is_known(example.target, labels):
            strange.append((example.id, repr(example.target)))
        yield place, example
    refuse(task.name, strange)


def is_known(target: Value, labels: Collection[str]) -> bool:
    """Whether a target is one of the labels, or a list of them; with no labels, anything is."""
    given: list[Any] = target if isinstance(target, list) else [target]
    return not labels or all(isinstance(label, str) and label in labels for label in given)


def refuse(name: str, strange: Collection[Strange]) -> None:
    """Raise `DataError` with a line for each of the examples, if there is any."""
    if strange:
        number = "1 target is" if len(strange) == 1 else f"{len(strange):,} targets are"
        lines = [f"{where}: {target}" for where, target in strange]
        raise DataError(f"{name}: {number} not among the task's labels; correct the data:", lines=lines)

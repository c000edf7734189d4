"""The documents of a task, as its prepared data has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mibe.data import store
from mibe.errors import UsageError
from mibe.task import Example, Task


def examples(task: Task, split: str) -> Iterator[Example]:
    """The examples of a split that belong to the task."""
    return filter(task.includes, store.iter_examples(task.data_name, split))


def placed_examples(task: Task, split: str) -> Iterator[tuple[int, Example]]:
    """The same, each with its place in the split, from 0."""
    return (found for found in enumerate(store.iter_examples(task.data_name, split)) if task.includes(found[1]))


def examples_at(task: Task, split: str, places: Iterable[int]) -> Iterator[Example]:
    """The examples at these places of the split, which ascend."""
    return store.examples_at(task.data_name, split, places)


def prepared_splits(task: Task) -> list[str]:
    """The splits of the task's data that are here; none where it is not prepared."""
    return store.splits(task.data_name) if store.find(task.data_name) else []


def check_split(task: Task, split: str) -> None:
    """Raise when the data is not prepared (`DataError`) or has no such split (`UsageError`)."""
    available = store.splits(task.data_name)
    if split not in available:
        raise UsageError(
            f"{task.name} has no {split} split here; it has {', '.join(available) or 'none'}; "
            f"mibe data prepare {task.data_name} --from PATH brings data that has one"
        )

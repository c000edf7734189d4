"""Are a task's own gold answers right by its own parser and metrics? What a perfect model would score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from mibe.data.documents import check_split, examples, prepared_splits
from mibe.data_use import is_credentialed
from mibe.errors import DataError
from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.base import is_mean
from mibe.parsers.outcome import read
from mibe.task import Example, Metric, Outcome, Prediction, Task

CLOSE = 1e-9
"""How far from 1 a score that is a sum of floating-point numbers may be."""

BLOCK = 4096
"""Answers that are read and scored at a time."""


@dataclass(frozen=True, slots=True)
class Misread:
    """A gold answer that its own task does not take for right: as the prompt asks for it, and what was read from it.

    Both texts are None for credentialed data.
    """

    id: str
    answer: str | None
    outcome: str
    read: Any


@dataclass(frozen=True)
class Checked:
    """The gold answers of one split: how many, the headline figure of them all, and those that are bad."""

    task: str
    split: str
    count: int
    headline: str
    value: float
    misread: tuple[Misread, ...]

    @property
    def holds(self) -> bool:
        """Whether each answer is read as itself, and all of them together score 1."""
        return not self.misread and self.value >= 1 - CLOSE


def check(task: Task, split: str | None = None) -> list[Checked]:
    """Write every gold answer as the prompt asks for it, read it by the task's parser, and score it.

    All splits that are here, or one. An answer is right where the headline's metric gives it 1 or, where that is no
    mean over samples, counts it as it counts the gold answer itself. Raises `DataError` where the data is not here and
    `UsageError` where it has no such split.
    """
    if split is not None or not prepared_splits(task):
        check_split(task, split or "test")
    return [_check_split(task, each) for each in ([split] if split else prepared_splits(task))]


def _check_split(task: Task, split: str) -> Checked:
    metric = next(metric for metric in task.metrics if task.headline in metric.names)
    column = metric.names.index(task.headline)
    count, misread = 0, list[Misread]()
    totals: FloatArray | float = 0.0
    left = examples(task, split)
    while block := list(islice(left, BLOCK)):
        answers = [task.prompt.answer(example) for example in block]
        found = [_read(task, example, answer) for example, answer in zip(block, answers, strict=True)]
        targets = [example.target for example in block]
        table = metric.statistics([prediction.value for prediction in found], targets)
        right = _right(metric, table, column, targets)
        for example, answer, prediction, is_right in zip(block, answers, found, right, strict=True):
            if not is_right or prediction.outcome is not Outcome.PARSED:
                texts = (None, None) if is_credentialed(task) else (answer, prediction.value)
                misread.append(Misread(example.id, texts[0], prediction.outcome.value, texts[1]))
        totals = totals + table.sum(axis=0, dtype=np.float64)
        count += len(block)
    if not count:
        raise DataError(f"{task.name}: the {split} split is empty; run: mibe data verify {task.data_name}")
    value = float(metric.figures(np.asarray(totals))[column])
    return Checked(task.name, split, count, task.headline, value, tuple(misread))


def _right(metric: Metric, table: FloatArray, column: int, targets: Sequence[Any]) -> Iterable[bool]:
    """Whether the metric takes each of the samples with these statistics for right."""
    if is_mean(metric):
        return [bool(value >= 1 - CLOSE) for value in table[:, column]]
    return [bool(same) for same in (table == metric.statistics(targets, targets)).all(axis=1)]


def _read(task: Task, example: Example, answer: str) -> Prediction:
    return read(answer, "stop", task.parser, choices=example.choices, inputs=example.inputs)

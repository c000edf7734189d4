"""How right one answer is, from 0 to 1: the figure of the task's own metric for one document alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mibe.errors import UsageError
from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.base import is_main, is_mean, is_sample_mean
from mibe.metrics.diagnosis import TopKAccuracy, first_match
from mibe.metrics.diagnosis_names import accepted_names, same_diagnosis
from mibe.metrics.extraction import EntityMicroF1
from mibe.metrics.multilabel import MicroF1
from mibe.task import Metric, Task, Value

AT_ONCE = (EntityMicroF1, MicroF1)
"""Metrics of all documents together whose figure for one document is its F1: of entities, of labels."""


@dataclass(frozen=True)
class OneFigure:
    """A figure of a metric, for each document by itself.

    Where a document has nothing to find and nothing is answered, an F1 has no value; that answer is right.
    """

    metric: Metric
    name: str

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples,): from 0 to 1; 0 where the prediction is None."""
        column = self.metric.names.index(self.name)
        if is_mean(self.metric):
            return self.metric.values(predictions, targets)[:, column]
        table = self.metric.statistics(predictions, targets)
        nothing = ~table.any(axis=1) & np.array([prediction is not None for prediction in predictions], dtype=np.bool_)
        return np.where(nothing, 1.0, self.metric.figures(table)[:, column])


@dataclass(frozen=True)
class ReciprocalRank:
    """One divided by the rank of the first right diagnosis; 0 where none of the first `depth` is right.

    The mean over cases is the mean reciprocal rank (Voorhees 1999, "The TREC-8 question answering track report").
    """

    depth: int
    name: str = "reciprocal_rank"

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples,), by spelling: predictions are ranked names, targets the accepted ones."""
        accepted = [accepted_names(target) for target in targets]
        return self.of_verdicts(
            [
                [same_diagnosis(name, names) for name in (prediction or ())[: self.depth]]
                for prediction, names in zip(predictions, accepted, strict=True)
            ]
        )

    def of_verdicts(self, verdicts: Sequence[Sequence[bool | None]]) -> FloatArray:
        """Shape (samples,): the same from verdicts on the ranked names."""
        return np.array([1 / first_match(each[: self.depth]) for each in verdicts], dtype=np.float64)


Measure = OneFigure | ReciprocalRank


def measure_of(task: Task) -> Measure:
    """How an answer of this task is measured by itself.

    The headline where it is a mean over documents (accuracy, exact match, ROUGE-L); of ranked diagnoses, the rank; else
    the first of the task's metrics that is such a mean, or the F1 of one document's entities or labels. Raises
    `UsageError` where a task has figures of all documents together alone.
    """
    headline = [metric for metric in task.metrics if task.headline in metric.names]
    for metric in (*headline, *task.metrics):
        if isinstance(metric, TopKAccuracy):
            return ReciprocalRank(metric.depth)
        if isinstance(metric, AT_ONCE) or (is_sample_mean(metric) and metric.bounds == (0.0, 1.0)):
            names = [name for name in metric.names if is_main(name)]
            if names:
                return OneFigure(metric, task.headline if task.headline in names else names[0])
    raise UsageError(
        f"{task.name} has figures of all documents together alone ({', '.join(_figures(task))}), and no reward can be "
        "made of them; give the task a metric of single answers, such as Accuracy (docs/rewards.md)"
    )


def _figures(task: Task) -> list[str]:
    return [name for metric in task.metrics for name in metric.names if is_main(name)]

"""From one response to the fields of its sample: outcome, prediction, target and own scores."""

from __future__ import annotations

from mibe.metrics.base import is_main, is_sample_mean
from mibe.models.base import Response
from mibe.parsers.outcome import read
from mibe.results.log import Row
from mibe.task import Example, Outcome, Prediction, Task
from mibe.variation import Varied, document_of

ANSWERED = "answered"
"""Key of a row for the letter that was answered, where that of an equal option stands as its prediction."""


def judge_response(task: Task, example: Example, response: Response) -> Row:
    """The fields of a sample's row that follow from its response: outcome, prediction, target and own scores.

    What comes before the answer is not looked at.
    """
    answer = None if response.answer_at is None else response.answer
    prediction = read(answer, response.finish_reason, task.parser, choices=example.choices, inputs=example.inputs)
    return judged(task, example, prediction)


def judged(task: Task, example: Example, prediction: Prediction) -> Row:
    """Outcome, prediction, target and, where a figure is a mean over samples, this sample's part of it.

    Where another letter was answered than the one it counts as, the row has it as `answered`. The cluster stands there
    where it is not the document itself, so that most logs are no larger for it. All versions of a document are of its
    cluster.
    """
    scores: dict[str, float] = {}
    value = task.counts_as(example, prediction.value)
    if prediction.outcome is not Outcome.ERROR:
        for metric in task.metrics:
            if is_sample_mean(metric):
                values = metric.values([value], [example.target])[0]
                scores.update((name, float(v)) for name, v in zip(metric.names, values, strict=True) if is_main(name))
    cluster = task.cluster(document_of(example))
    return {
        "outcome": prediction.outcome.value,
        "prediction": value,
        **({ANSWERED: prediction.value} if value != prediction.value else {}),
        "target": example.target,
        "scores": scores,
        **({"metadata": dict(example.metadata)} if example.metadata else {}),
        **({"cluster": cluster} if cluster != example.id else {}),
        **({"variant": example.said()} if isinstance(example, Varied) else {}),
    }

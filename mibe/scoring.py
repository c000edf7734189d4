"""From what a model said to figures: outcome and prediction of each sample, then scores with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mibe.metrics.base import Metric, is_sample_mean
from mibe.metrics.confusion import confusion_matrix
from mibe.metrics.outcomes import OutcomeRates
from mibe.metrics.score import Figure, score
from mibe.models.base import Response
from mibe.parsers import read
from mibe.results.log import Row
from mibe.task import Example, Outcome, Prediction, Task


def judge_response(task: Task, example: Example, response: Response) -> Row:
    """The fields of a sample's row that follow from its response: outcome, prediction, target and own scores."""
    prediction = read(
        response.text, response.finish_reason, task.parser, choices=example.choices, inputs=example.inputs
    )
    return judged(task, example, prediction)


def judged(task: Task, example: Example, prediction: Prediction) -> Row:
    """Outcome, prediction, target and, where a figure is a mean over samples, this sample's part of it."""
    scores: dict[str, float] = {}
    if prediction.outcome is not Outcome.ERROR:
        for metric in task.metrics:
            if is_sample_mean(metric):
                row = metric.statistics([prediction.value], [example.target])
                scores.update(zip(metric.names, map(float, metric.figures(row.sum(axis=0))), strict=True))
    return {
        "outcome": prediction.outcome.value,
        "prediction": prediction.value,
        "target": example.target,
        "scores": scores,
        **({"metadata": dict(example.metadata)} if example.metadata else {}),
    }


def best_candidate(task: Task, example: Example, loglikelihoods: Sequence[float]) -> Prediction:
    """The answer whose text is likeliest per byte, so that a long answer is not worse for its length alone."""
    candidates = task.candidates(example)
    per_byte = [value / max(1, len(text.encode())) for value, (_, text) in zip(loglikelihoods, candidates, strict=True)]
    return Prediction(candidates[int(np.argmax(per_byte))][0], Outcome.PARSED)


def score_rows(task: Task, rows: Iterable[Row], *, resamples: int, seed: int) -> dict[str, Any]:
    """The scores of one task as they stand in the run record. Rows with errors are counted and not scored."""
    predictions: list[Any] = []
    targets: list[Any] = []
    metadata: list[Mapping[str, str]] = []
    outcomes: Counter[str] = Counter()
    finish_reasons: Counter[str] = Counter()
    cut = 0
    for row in rows:
        outcomes[row["outcome"]] += 1
        finish_reasons[row.get("finish_reason") or "unknown"] += 1
        cut += bool(row.get("cut"))
        if row["outcome"] != Outcome.ERROR:
            predictions.append(row["prediction"])
            targets.append(row["target"])
            metadata.append(row.get("metadata") or {})
    all_outcomes = [name for name, count in outcomes.items() for _ in range(count)]
    return {
        "samples": sum(outcomes.values()),
        "scored": len(predictions),
        "outcomes": {outcome.value: outcomes[outcome.value] for outcome in Outcome},
        "finish_reasons": dict(finish_reasons),
        "cut_prompts": cut,
        "figures": _figures(task.metrics, predictions, targets, resamples, seed),
        "rates": _figures((OutcomeRates(),), all_outcomes, all_outcomes, resamples, seed),
        "breakdowns": {
            field: _breakdown(task, field, predictions, targets, metadata, resamples, seed) for field in task.breakdowns
        },
        "confusion": confusion_matrix(predictions, targets, task.labels)
        if task.labels and targets and all(isinstance(target, str) for target in targets)
        else None,
    }


def _breakdown(
    task: Task,
    field: str,
    predictions: Sequence[Any],
    targets: Sequence[Any],
    metadata: Sequence[Mapping[str, str]],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Headline and macro figures for each value of a metadata field, and their plain mean over the values."""
    values = sorted({row.get(field, "") for row in metadata})
    parts: dict[str, Any] = {}
    for value in values:
        chosen = [i for i, row in enumerate(metadata) if row.get(field, "") == value]
        figures = _figures(
            [metric for metric in task.metrics if len(metric.names) == 1],
            [predictions[i] for i in chosen],
            [targets[i] for i in chosen],
            resamples,
            seed,
        )
        parts[value] = {"scored": len(chosen), "figures": figures}
    return parts


def _figures(
    metrics: Sequence[Metric], predictions: Sequence[Any], targets: Sequence[Any], resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    scored: dict[str, Figure] = score(metrics, predictions, targets, resamples=resamples, seed=seed)
    return {name: asdict(figure) for name, figure in scored.items()}

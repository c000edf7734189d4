"""From what a model said to figures: outcome and prediction of each sample, then scores with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mibe.arrays import np
from mibe.metrics.base import Metric, is_main, is_sample_mean
from mibe.metrics.confusion import confusion_matrix
from mibe.metrics.outcomes import OutcomeRates
from mibe.metrics.score import Figure, score, score_by
from mibe.models.base import Response
from mibe.parsers.outcome import read
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
                values = metric.values([prediction.value], [example.target])[0]
                scores.update((name, float(v)) for name, v in zip(metric.names, values, strict=True) if is_main(name))
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
            field: _breakdown(task, [row.get(field, "") for row in metadata], predictions, targets, resamples, seed)
            for field in task.breakdowns
        },
        "confusion": _confusion(task, predictions, targets),
    }


def _breakdown(
    task: Task, groups: Sequence[str], predictions: Sequence[Any], targets: Sequence[Any], resamples: int, seed: int
) -> dict[str, Any]:
    """The main figures of each group of samples."""
    metrics = [metric for metric in task.metrics if all(map(is_main, metric.names))]
    parts = score_by(groups, metrics, predictions, targets, resamples=resamples, seed=seed)
    return {group: {name: asdict(figure) for name, figure in figures.items()} for group, figures in parts.items()}


def _confusion(task: Task, predictions: Sequence[Any], targets: Sequence[Any]) -> dict[str, Any] | None:
    """Labels and counts (gold × predicted, the last column for no answer) where an answer is one label."""
    if not task.labels or not all(isinstance(target, str) for target in targets):
        return None
    return {"labels": list(task.labels), "counts": confusion_matrix(predictions, targets, task.labels)}


def _figures(
    metrics: Sequence[Metric], predictions: Sequence[Any], targets: Sequence[Any], resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    scored: dict[str, Figure] = score(metrics, predictions, targets, resamples=resamples, seed=seed)
    return {name: asdict(figure) for name, figure in scored.items()}

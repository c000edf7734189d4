"""From the rows of a task's sample log to its figures, with intervals."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from operator import itemgetter
from typing import Any

from mibe.errors import UsageError
from mibe.judge.judges import EXACT
from mibe.judge.verdicts import TOP_K, is_judged, matches
from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.base import Mean, is_main
from mibe.metrics.confusion import confusion_matrix
from mibe.metrics.diagnosis import UnreadableVerdicts
from mibe.metrics.outcomes import BudgetCuts, OutcomeRates
from mibe.metrics.score import sample_statistics, score, score_statistics
from mibe.results.log import Row
from mibe.task import Category, Metric, Outcome, Task


def late_metrics(tasks: Sequence[Task], bertscore: str | None) -> dict[str, tuple[Mean, ...]]:
    """Task name → its `late_of`. Raises `UsageError` when BERTScore is asked for and no task is for it."""
    if bertscore is not None and not any(task.category is Category.SUMMARIZATION for task in tasks):
        raise UsageError("--bertscore is for summaries, and none of the tasks is a summarization task; leave it out")
    return {task.name: late_of(task, bertscore) for task in tasks}


def late_of(task: Task, bertscore: str | None) -> tuple[Mean, ...]:
    """The metrics of a task too costly to be had sample by sample: they see all samples at once, after the responses.

    `bertscore` is MODEL or MODEL:LAYER, for summarization tasks. Its encoder is loaded when it is first used.
    """
    if bertscore is None or task.category is not Category.SUMMARIZATION:
        return ()
    from mibe.metrics.bertscore import BertScore

    model, separator, layer = bertscore.rpartition(":")
    return (BertScore(model=model, layer=int(layer)) if separator and layer.isdecimal() else BertScore(bertscore),)


def with_late_scores(rows: Iterable[Row], late: Sequence[Mean]) -> list[Row]:
    """The rows, those without error with their part of each late figure beside their other scores."""
    rows = list(rows)
    scored = [number for number, row in enumerate(rows) if row["outcome"] != Outcome.ERROR]
    predictions, targets = ([rows[number][key] for number in scored] for key in ("prediction", "target"))
    for metric in late:
        for number, values in zip(scored, metric.values(predictions, targets).tolist(), strict=True):
            own = rows[number]["scores"] | dict(zip(metric.names, values, strict=True))
            rows[number] = rows[number] | {"scores": own}
    return rows


def stored_statistics(metric: Mean, scores: Sequence[Mapping[str, float]]) -> FloatArray:
    """The statistics of a metric from the `scores` of rows, where its values stand already."""
    values = [[own[name] for name in metric.names] for own in scores]
    return metric.table(np.array(values, dtype=np.float64).reshape(-1, len(metric.names)))


def score_rows(
    task: Task, rows: Iterable[Row], *, late: Sequence[Mean] = (), resamples: int, seed: int
) -> dict[str, Any]:
    """The scores of one task as they stand in the run record. Rows with errors are counted and not scored.

    Figures of `late` are made of what `with_late_scores` wrote into the rows. The order of the rows, in which
    responses happened to arrive, bears on no figure, not even in its last digit.
    """
    samples: list[tuple[str, Any, Any, tuple[str, ...]]] = []
    stored: list[tuple[str, Mapping[str, float]]] = []
    outcomes: Counter[str] = Counter()
    finish_reasons: Counter[str] = Counter()
    cut = budget_cut = 0
    for row in rows:
        outcomes[row["outcome"]] += 1
        finish_reasons[row.get("finish_reason") or "unknown"] += 1
        cut += bool(row.get("cut"))
        budget_cut += bool(row.get("budget_cut"))
        if row["outcome"] != Outcome.ERROR:
            groups = tuple(_once((row.get("metadata") or {}).get(field, "")) for field in task.breakdowns)
            samples.append((row["id"], _once(row["prediction"]), _once(row["target"]), groups))
            if late:
                stored.append((row["id"], row["scores"]))
    samples.sort(key=itemgetter(0))
    stored.sort(key=itemgetter(0))
    predictions, targets = [sample[1] for sample in samples], [sample[2] for sample in samples]
    metrics: tuple[Metric, ...] = (*task.metrics, *late)
    tables = sample_statistics(task.metrics, predictions, targets)
    tables += [stored_statistics(metric, [scores for _, scores in stored]) for metric in late]
    all_outcomes = [outcome.value for outcome in Outcome for _ in range(outcomes[outcome.value])]
    were_cut = [1.0] * budget_cut + [0.0] * (len(all_outcomes) - budget_cut)
    rates, cuts = OutcomeRates(), BudgetCuts()
    rate_tables = [rates.statistics(all_outcomes, all_outcomes), cuts.statistics(were_cut, were_cut)]
    return {
        "samples": sum(outcomes.values()),
        "scored": len(predictions),
        "outcomes": {outcome.value: outcomes[outcome.value] for outcome in Outcome},
        "finish_reasons": dict(finish_reasons),
        "cut_prompts": cut,
        "budget_cut": budget_cut,
        "figures": _figures(metrics, tables, resamples, seed),
        "rates": _figures((rates, cuts), rate_tables, resamples, seed),
        "breakdowns": {
            field: _breakdown([sample[3][number] for sample in samples], metrics, tables, resamples, seed)
            for number, field in enumerate(task.breakdowns)
        },
        "confusion": _confusion(task, predictions, targets),
    }


def _once(value: Any) -> Any:
    """The value, and for a label that many samples have always the same object: a hundred thousand cost nothing."""
    return sys.intern(value) if isinstance(value, str) else value


def _breakdown(
    groups: Sequence[str], metrics: Sequence[Metric], tables: Sequence[FloatArray], resamples: int, seed: int
) -> dict[str, Any]:
    """The main figures of each group of samples: rows of the tables that all samples have already."""
    main = [(metric, table) for metric, table in zip(metrics, tables, strict=True) if all(map(is_main, metric.names))]
    of_sample = np.array(groups, dtype=object)
    return {
        group: _figures(
            [metric for metric, _ in main], [table[of_sample == group] for _, table in main], resamples, seed
        )
        for group in sorted(set(groups))
    }


def _confusion(task: Task, predictions: Sequence[Any], targets: Sequence[Any]) -> dict[str, Any] | None:
    """Labels and counts (gold × predicted, the last column for no answer) where an answer is one label."""
    if not task.labels or not all(isinstance(target, str) for target in targets):
        return None
    return {"labels": list(task.labels), "counts": confusion_matrix(predictions, targets, task.labels)}


def _figures(
    metrics: Sequence[Metric], tables: Sequence[FloatArray], resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    figures = score_statistics(metrics, tables, resamples=resamples, seed=seed)
    return {name: asdict(figure) for name, figure in figures.items()}


def score_task(
    task: Task, rows: Iterable[Row], *, late: Sequence[Mean] = (), resamples: int, seed: int
) -> dict[str, Any]:
    """The scores of one task, by its judge's verdicts where there are any, else by its own metrics."""
    if not is_judged(task):
        return score_rows(task, rows, late=late, resamples=resamples, seed=seed)
    rows = list(rows)
    judged = [row for row in rows if "verdicts" in row and row["outcome"] != Outcome.ERROR]
    if not judged:
        return score_rows(task, rows, late=late, resamples=resamples, seed=seed)
    # Beside verdicts, a sample without them can only be one with an error, which is counted and not scored.
    by_verdict = [row | {"prediction": matches(row)} if "verdicts" in row else row for row in rows]
    scores = score_rows(replace(task, metrics=(TOP_K,)), by_verdict, resamples=resamples, seed=seed)
    asked = [[v["match"] for v in row["verdicts"] if v["source"] != EXACT] for row in judged]
    if any(asked):
        unreadable = score([UnreadableVerdicts()], asked, asked, resamples=resamples, seed=seed)
        scores["figures"] |= {name: asdict(figure) for name, figure in unreadable.items()}
    return scores | {"headline": task.headline if task.headline in TOP_K.names else TOP_K.names[0]}

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
from mibe.metrics.arrays import FloatArray, IntArray, np
from mibe.metrics.base import Mean, is_main
from mibe.metrics.confusion import confusion_matrix
from mibe.metrics.diagnosis import UnreadableVerdicts
from mibe.metrics.intervals import cluster_numbers
from mibe.metrics.outcomes import OUTCOMES, OutcomeRates
from mibe.metrics.score import sample_statistics, score, score_statistics
from mibe.results.draws import draw_of
from mibe.results.log import Row
from mibe.run.repeats import Draws, repeats
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
    responses happened to arrive, bears on no figure, not even in its last digit. Where documents were drawn several
    times, the figures are over all draws, their uncertainty goes by document, and "repeats" holds what the draws tell
    beside.
    """
    samples: list[tuple[str, int, Any, Any, tuple[str, ...], str]] = []
    stored: list[tuple[str, int, Mapping[str, float]]] = []
    failed: list[str] = []
    finish_reasons: Counter[str] = Counter()
    cut = 0
    count = 1
    for row in rows:
        ident, draw, outcome = row["id"], draw_of(row), row["outcome"]
        finish_reasons[row.get("finish_reason") or "unknown"] += 1
        cut += bool(row.get("cut"))
        count = max(count, draw + 1)
        if outcome == Outcome.ERROR:
            failed.append(ident)
            continue
        groups = tuple(_once((row.get("metadata") or {}).get(field, "")) for field in task.breakdowns)
        samples.append((ident, draw, _once(row["prediction"]), _once(row["target"]), groups, _once(outcome)))
        if late:
            stored.append((ident, draw, row["scores"]))
    samples.sort(key=itemgetter(0, 1))
    stored.sort(key=itemgetter(0, 1))
    failed.sort()
    ids, numbers = [sample[0] for sample in samples], [sample[1] for sample in samples]
    outcomes = [*(sample[5] for sample in samples), *(Outcome.ERROR.value for _ in failed)]
    draws = Draws.of(ids, numbers, count) if count > 1 else None
    documents = None if draws is None else draws.documents
    tally = Counter(outcomes)
    predictions, targets = [sample[2] for sample in samples], [sample[3] for sample in samples]
    metrics: tuple[Metric, ...] = (*task.metrics, *late)
    tables = sample_statistics(task.metrics, predictions, targets)
    tables += [stored_statistics(metric, [scores for *_, scores in stored]) for metric in late]
    found = {
        "samples": len(outcomes),
        "scored": len(predictions),
        "outcomes": {name: tally[name] for name in OUTCOMES},
        "finish_reasons": dict(finish_reasons),
        "cut_prompts": cut,
        "figures": _figures(metrics, tables, documents, resamples, seed),
        "rates": _rates(outcomes, None if draws is None else [*ids, *failed], resamples, seed),
        "breakdowns": {
            field: _breakdown([sample[4][number] for sample in samples], metrics, tables, documents, resamples, seed)
            for number, field in enumerate(task.breakdowns)
        },
        "confusion": _confusion(task, predictions, targets),
    }
    if draws is not None:
        found["repeats"] = repeats(task, metrics, tables, predictions, targets, draws, resamples=resamples, seed=seed)
    return found


def _rates(outcomes: Sequence[str], ids: Sequence[str] | None, resamples: int, seed: int) -> dict[str, Any]:
    """How often each outcome occurs; `ids` are the documents of the samples where several are of one."""
    # In the order of the outcomes, so that the order of the samples bears on no digit.
    order = sorted(range(len(outcomes)), key=lambda at: OUTCOMES.index(outcomes[at]))
    names = [outcomes[at] for at in order]
    documents = None if ids is None else cluster_numbers([ids[at] for at in order])
    rates = OutcomeRates()
    return _figures((rates,), [rates.statistics(names, names)], documents, resamples, seed)


def _once(value: Any) -> Any:
    """The value, and for a label that many samples have always the same object: a hundred thousand cost nothing."""
    return sys.intern(value) if isinstance(value, str) else value


def _breakdown(
    groups: Sequence[str],
    metrics: Sequence[Metric],
    tables: Sequence[FloatArray],
    clusters: IntArray | None,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The main figures of each group of samples: rows of the tables that all samples have already."""
    main = [(metric, table) for metric, table in zip(metrics, tables, strict=True) if all(map(is_main, metric.names))]
    of_sample = np.array(groups, dtype=object)
    found = {}
    for group in sorted(set(groups)):
        inside = of_sample == group
        own = None if clusters is None else clusters[inside]
        kept = [table[inside] for _, table in main]
        found[group] = _figures([metric for metric, _ in main], kept, own, resamples, seed)
    return found


def _confusion(task: Task, predictions: Sequence[Any], targets: Sequence[Any]) -> dict[str, Any] | None:
    """Labels and counts (gold × predicted, the last column for no answer) where an answer is one label."""
    if not task.labels or not all(isinstance(target, str) for target in targets):
        return None
    return {"labels": list(task.labels), "counts": confusion_matrix(predictions, targets, task.labels)}


def _figures(
    metrics: Sequence[Metric], tables: Sequence[FloatArray], clusters: IntArray | None, resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    figures = score_statistics(metrics, tables, clusters=clusters, resamples=resamples, seed=seed)
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
        documents = cluster_numbers([row["id"] for row in judged])
        unreadable = score([UnreadableVerdicts()], asked, asked, clusters=documents, resamples=resamples, seed=seed)
        scores["figures"] |= {name: asdict(figure) for name, figure in unreadable.items()}
    return scores | {"headline": task.headline if task.headline in TOP_K.names else TOP_K.names[0]}

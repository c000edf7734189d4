"""From the rows of a task's sample log to its figures, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from mibe.errors import RunError, UsageError
from mibe.judge.judges import EXACT
from mibe.judge.verdicts import TOP_K, is_judged, matches
from mibe.metrics.arrays import FloatArray, IntArray, np
from mibe.metrics.base import Mean, Observed, Stored, is_main
from mibe.metrics.calibration import READS, bin_numbers, equal_width, of_likelihood, score_likelihoods
from mibe.metrics.classification import Accuracy
from mibe.metrics.confusion import confusion_matrix
from mibe.metrics.counts import OfGold
from mibe.metrics.diagnosis import UnreadableVerdicts
from mibe.metrics.intervals import cluster_numbers, compact
from mibe.metrics.outcomes import OUTCOMES, OutcomeRates
from mibe.metrics.sameness import answer_counts
from mibe.metrics.score import sample_statistics, score, score_statistics
from mibe.results.digests import cluster_of
from mibe.results.log import Row
from mibe.results.variants import is_itself
from mibe.run.columns import Columns, GrowingColumns, by_group
from mibe.run.repeats import repeats
from mibe.run.variants import variants
from mibe.task import Category, Metric, Outcome, Task

LATE: Mapping[str, str] = {"bertscore": "BERTScore", "bartscore": "BARTScore"}
"""Settings that ask for a metric of summaries that needs a model of its own → what the metric is called."""


def late_metrics(tasks: Sequence[Task], settings: Mapping[str, Any]) -> dict[str, tuple[Mean, ...]]:
    """Task name → its `late_of`. Raises `UsageError` when such a metric is asked for and no task is for it."""
    asked = [name for name in LATE if settings.get(name) is not None]
    if asked and not any(task.category is Category.SUMMARIZATION for task in tasks):
        raise UsageError(f"--{asked[0]} is for summaries, and none of the tasks is a summarization task; leave it out")
    return {task.name: late_of(task, settings) for task in tasks}


def late_of(task: Task, settings: Mapping[str, Any]) -> tuple[Mean, ...]:
    """The metrics of a task too costly to be had sample by sample: they see all samples at once, after the responses.

    Of the settings, "bertscore" is MODEL or MODEL:LAYER, "bartscore" MODEL, WEIGHTS or MODEL:WEIGHTS, for summarization
    tasks. Their models are loaded when they are first used.
    """
    bertscore, bartscore = (settings.get(name) for name in LATE)
    if task.category is not Category.SUMMARIZATION:
        return ()
    found: list[Mean] = []
    if bertscore is not None:
        from mibe.metrics.bertscore import BertScore

        model, separator, layer = bertscore.rpartition(":")
        found.append(BertScore(model, int(layer)) if separator and layer.isdecimal() else BertScore(bertscore))
    if bartscore is not None:
        from mibe.metrics.bartscore import from_text

        found.append(from_text(bartscore))
    return tuple(found)


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


def stored_statistics(metric: Stored, scores: Sequence[Mapping[str, float]]) -> FloatArray:
    """The statistics of a metric from the `scores` of rows, where its values stand already.

    Raises `RunError` where they do not, as in a log of somebody else's.
    """
    if any(name not in own for own in scores for name in metric.reads):
        raise RunError(f"a sample has no {metric.names[0]} of its own; mibe rescore RUN computes it")
    values = [[own[name] for name in metric.reads] for own in scores]
    return metric.table(np.array(values, dtype=np.float64).reshape(-1, len(metric.reads)))


def score_rows(
    task: Task, rows: Iterable[Row], *, late: Sequence[Mean] = (), resamples: int, seed: int
) -> dict[str, Any]:
    """The scores of one task as they stand in the run record. Rows with errors are counted and not scored.

    Figures of `late` are made of what `with_late_scores` wrote into the rows. Where documents were drawn several times,
    the figures are over all draws, and "repeats" holds what the draws tell beside. Where they were asked in several
    versions, they are those of the documents themselves, as of a run without any; "versions" counts all samples, and
    "robustness" and "fairness" hold what the versions tell. Where answers were chosen by likelihood, their own figures
    come last, and "reliability" holds the curve. Uncertainty goes by cluster.
    """
    growing, versions = (GrowingColumns(task.breakdowns, with_scores=bool(late)) for _ in range(2))
    outcomes_asked: Counter[str] = Counter()
    for row in rows:
        outcomes_asked[row["outcome"]] += 1
        if is_itself(row):
            growing.add(row)
        if "variant" in row:
            versions.add(row)
    columns = growing.columns()
    metrics: tuple[Metric, ...] = (*task.metrics, *late)
    tables = sample_statistics(task.metrics, columns.predictions, columns.targets)
    tables += [stored_statistics(metric, columns.scores) for metric in late]
    likely = of_likelihood(columns.scores)
    outcomes = Counter(columns.outcomes) + Counter({Outcome.ERROR.value: len(columns.failed)})
    figures = _figures(metrics, tables, columns.clusters, resamples, seed)
    found = {
        "samples": outcomes.total(),
        "scored": len(columns.outcomes),
        "clusters": columns.count,
        "outcomes": _in_order(outcomes),
        "finish_reasons": columns.finish_reasons,
        "cut_prompts": columns.cut,
        "budget_cut": int(columns.budget_cuts.sum()),
        "figures": figures,
        "rates": _rates(columns, resamples, seed),
        "breakdowns": {
            field: _breakdown(column, metrics, tables, columns.clusters, resamples, seed)
            for field, column in zip(task.breakdowns, columns.groups, strict=True)
        },
        "few_gold": _few_gold(metrics, [table[columns.first_draws] for table in tables]),
        "confusion": _confusion(task, columns.predictions, columns.targets),
        "answers": answer_counts(columns.predictions, columns.documents.tolist()),
    }
    if likely:
        stored = [stored_statistics(metric, columns.scores) for metric in likely]
        own = score_likelihoods(likely, stored, clusters=columns.clusters, resamples=resamples, seed=seed)
        figures |= {name: asdict(figure) for name, figure in own.items()}
        found["reliability"] = reliability(columns.scores, columns.clusters, resamples, seed)
    if columns.repeats > 1:
        found["repeats"] = repeats(task, metrics, tables, columns, resamples=resamples, seed=seed)
    if len(versions):
        found["versions"] = {"samples": outcomes_asked.total(), "outcomes": _in_order(outcomes_asked)}
        found |= _of_versions(task, metrics, versions.columns(), late, resamples, seed)
    return found


def _of_versions(
    task: Task, metrics: Sequence[Metric], columns: Columns, late: Sequence[Mean], resamples: int, seed: int
) -> dict[str, Any]:
    """What the versions of documents tell; nothing where none has a score."""
    if not len(columns.outcomes):
        return {}
    tables = sample_statistics(task.metrics, columns.predictions, columns.targets)
    tables += [stored_statistics(metric, columns.scores) for metric in late]
    return variants(task, metrics, tables, columns, resamples=resamples, seed=seed)


def _in_order(outcomes: Counter[str]) -> dict[str, int]:
    return {name: outcomes[name] for name in OUTCOMES}


def _rates(columns: Columns, resamples: int, seed: int) -> dict[str, Any]:
    """How often each outcome occurs, and how often a limit ended a reasoning, failed samples among the others."""
    outcomes, cuts, failed = OutcomeRates(), Observed("budget_cut"), len(columns.failed)
    code = {name: number for number, name in enumerate(OUTCOMES)}
    codes = np.fromiter((code[name] for name in columns.outcomes), dtype=np.int8, count=len(columns.outcomes))
    codes = np.append(codes, np.full(failed, code[Outcome.ERROR.value], dtype=np.int8))
    was_cut = np.append(columns.budget_cuts, np.zeros(failed)).reshape(-1, 1).astype(np.float64)
    tables = [compact(outcomes.statistics(OUTCOMES, OUTCOMES))[codes], compact(cuts.table(was_cut))]
    clusters = None if columns.clusters is None else np.append(columns.clusters, columns.failed)
    return _figures((outcomes, cuts), tables, clusters, resamples, seed)


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
    return {
        group: _figures(
            [metric for metric, _ in main],
            [table[inside] for _, table in main],
            None if clusters is None else clusters[inside],
            resamples,
            seed,
        )
        for group, inside in by_group(groups).items()
    }


def _few_gold(metrics: Sequence[Metric], tables: Sequence[FloatArray]) -> dict[str, dict[str, Any]]:
    """Figure → the labels with too few gold samples for it, and what a perfect model has; a document counts once."""
    totals = {
        metric: table.sum(axis=0, dtype=np.float64)
        for metric, table in zip(metrics, tables, strict=True)
        if isinstance(metric, OfGold)
    }
    return {
        name: {"gold": few, "perfect": metric.perfect(total)}
        for metric, total in totals.items()
        if (few := metric.few_gold(total))
        for name in metric.names
    }


def _confusion(task: Task, predictions: Sequence[Any], targets: Sequence[Any]) -> dict[str, Any] | None:
    """Labels and counts (gold × predicted, the last column for no answer) where an answer is one label."""
    if not task.labels or not all(isinstance(target, str) for target in targets):
        return None
    return {"labels": list(task.labels), "counts": confusion_matrix(predictions, targets, task.labels)}


def reliability(
    scores: Sequence[Mapping[str, float]], documents: IntArray | None, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """The reliability curve: of each bin with samples its edges, their mean confidence, and their accuracy as a figure.

    The bins are those of the calibration error "ece": BINS of one width, each without its lower edge.
    """
    confidence, right = (np.array([own[name] for own in scores], dtype=np.float64) for name in READS)
    edges = equal_width(confidence)
    bins = bin_numbers(confidence, edges)
    curve = []
    for number in np.unique(bins).tolist():
        inside = np.flatnonzero(bins == number)
        accuracy = Accuracy()
        table = accuracy.table(right[inside, np.newaxis])
        clusters = None if documents is None else documents[inside]
        figures = score_statistics([accuracy], [table], clusters=clusters, resamples=resamples, seed=seed)
        low, high = edges[number : number + 2].tolist()
        of_bin = {"low": low, "high": high, "confidence": float(confidence[inside].mean())}
        curve.append(of_bin | {"accuracy": asdict(figures[accuracy.name])})
    return curve


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
    judged = list(filter(is_itself, judged))
    scores["answers"] = answer_counts(
        (row["prediction"] for row in judged), cluster_numbers([row["id"] for row in judged]).tolist()
    )
    asked = [[v["match"] for v in row["verdicts"] if v["source"] != EXACT] for row in judged]
    if any(asked):
        clusters = cluster_numbers([cluster_of(row) for row in judged])
        unreadable = score([UnreadableVerdicts()], asked, asked, clusters=clusters, resamples=resamples, seed=seed)
        scores["figures"] |= {name: asdict(figure) for name, figure in unreadable.items()}
    return scores | {"headline": task.headline if task.headline in TOP_K.names else TOP_K.names[0]}

"""Every figure of a finished run computed again, from its sample log alone, by packages that are not ours."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from string import ascii_uppercase
from typing import Any

from mibe import protocols
from mibe.analysis.packages import NO_ANSWER, by_packages, package, reliability_curve, share, why_not
from mibe.analysis.verify_versions import NOT_COUNTED, version_counts
from mibe.errors import RunError
from mibe.judge.judges import EXACT
from mibe.judge.verdicts import TOP_K, matches
from mibe.metrics.bertscore import BertScore
from mibe.metrics.calibration import of_likelihood
from mibe.metrics.diagnosis import UnreadableVerdicts
from mibe.own.recorded import task_of
from mibe.results.digests import cluster_of, draw_of
from mibe.results.draws import repeats_figures, spread_name
from mibe.results.log import Row
from mibe.results.run import Run, load_run
from mibe.results.variants import is_itself, variant_figures
from mibe.run.reading import ANSWERED
from mibe.run.scoring import late_of
from mibe.task import Metric, Outcome, Task

TOLERANCE = 1e-9
ENCODER_TOLERANCE = 1e-5
"""For BERTScore: an encoder computes in 32 bits, whose last digits change with the machine."""

NO_METRIC = "the task has no such figure today; mibe rescore RUN brings the record up to date"
LACKING = "the record has no such figure; mibe rescore RUN brings it up to date"
NOT_LOOKED_AT = "intervals, standard errors, timing, and what a parser read from an output"
"""What no check is of."""

OF_DRAWS = "no package of the extra compares the draws of a document"


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of a task: as the record has it (None: it lacks it), and as a package computes it, or a plain count
    (None: none does, for the `reason`). Of a mean over tasks, the task is the name of the mean."""

    task: str
    figure: str
    ours: float | None
    theirs: float | None
    reason: str = ""
    tolerance: float = TOLERANCE

    @property
    def difference(self) -> float | None:
        """How far the two are apart; None where there is nothing to compare with."""
        return None if self.ours is None or self.theirs is None else abs(self.ours - self.theirs)

    @property
    def holds(self) -> bool:
        """Whether they are the same, or nothing says that they are not. A figure that is no number never is."""
        return self.difference is None or self.difference <= self.tolerance


@dataclass(frozen=True)
class Verification:
    """All figures of a run, checked."""

    path: Path
    checks: tuple[Check, ...]

    @property
    def failed(self) -> list[Check]:
        """The figures that do not hold."""
        return [check for check in self.checks if not check.holds]

    @property
    def verified(self) -> list[Check]:
        """The figures that a package computed too."""
        return [check for check in self.checks if check.theirs is not None]

    @property
    def not_verified(self) -> dict[str, list[Check]]:
        """Reason → the figures that no package computed for it."""
        found: dict[str, list[Check]] = {}
        for check in self.checks:
            if check.theirs is None:
                found.setdefault(check.reason, []).append(check)
        return found

    @property
    def largest(self) -> float:
        """The largest difference; 0 where nothing was compared."""
        return max((check.difference or 0.0 for check in self.checks), default=0.0)


@dataclass(frozen=True, slots=True)
class Scored:
    """What one metric saw: a prediction and a target of each row."""

    metric: Metric
    predictions: Sequence[Any]
    targets: Sequence[Any]


def verify(path: str | Path) -> Verification:
    """Compute the figures of a finished run again by scikit-learn, seqeval, nervaluate, rouge-score and bert-score.

    Predictions and targets are those of the sample log: what a parser read is not looked at again.

    Raises
    ------
    RunError
        When there is no run, it has no figures yet, or its log is damaged.
    ModelError
        When a package that is needed is not installed, with the command that brings it in.
    """
    run = load_run(path)
    checks = [check for name in run.record["tasks"] for check in _of_task(run, name)]
    return Verification(run.path, (*checks, *_of_means(run.record)))


def _of_means(record: Mapping[str, Any]) -> Iterator[Check]:
    """A check for each mean over tasks, of the headline figures in the record."""
    for name, mean in (record.get("means") or {}).items():
        parts = [record["tasks"][task] for task in mean["tasks"]]
        yield Check(name, "mean", mean["value"], fmean(part["figures"][part["headline"]]["value"] for part in parts))


def _of_task(run: Run, name: str) -> Iterator[Check]:
    part = run.record["tasks"][name]
    if "figures" not in part:
        raise RunError(f"{run.path}: {name} has no scores yet; run its command again first")
    task = protocols.recorded(run.record, task_of(run.record, name))
    rows = list(run.rows(name))
    samples = part.get("versions", part)["samples"]
    if len(rows) != samples:
        raise RunError(f"{run.samples_path(name)} holds {len(rows)} samples, the record {samples}")
    yield from _of_versions(name, part, rows)
    rows = list(filter(is_itself, rows))
    scored = [row for row in rows if row["outcome"] != Outcome.ERROR]
    settings = run.record["settings"]
    behind = what_was_scored(task, scored, settings)
    yield from _of_figures(name, part["figures"], behind)
    lacking = [figure for one in behind for figure in one.metric.names if scored and figure not in part["figures"]]
    yield from (Check(name, figure, None, None, LACKING) for figure in lacking)
    yield from _of_counts(name, part, rows, behind)
    yield from _of_rates(name, part["rates"], rows)
    for field, groups in part["breakdowns"].items():
        for group, figures in groups.items():
            inside = [row for row in scored if (row.get("metadata") or {}).get(field, "") == group]
            found = _of_figures(name, figures, what_was_scored(task, inside, settings))
            yield from (replace(check, figure=f"{check.figure}, {field} {group}") for check in found)
    if part["confusion"]:
        yield from _of_confusion(name, part["confusion"], scored)
    if part.get("reliability"):
        yield from _of_reliability(task, part["reliability"], scored)
    yield from _of_draws(task, repeats_figures(part), scored, settings)


def what_was_scored(task: Task, rows: Sequence[Row], settings: Mapping[str, Any]) -> list[Scored]:
    """The metrics behind the figures of these rows, with what each saw: verdicts of a judge where there are any."""
    targets = [row["target"] for row in rows]
    judged = [row for row in rows if "verdicts" in row]
    if judged:
        asked = [[v["match"] for v in row["verdicts"] if v["source"] != EXACT] for row in judged]
        verdicts = [matches(row) if "verdicts" in row else row["prediction"] for row in rows]
        unreadable = [Scored(UnreadableVerdicts(), asked, asked)] if any(asked) else []
        return [Scored(TOP_K, verdicts, targets), *unreadable]
    predictions = [row["prediction"] for row in rows]
    found = [Scored(metric, predictions, targets) for metric in (*task.metrics, *late_of(task, settings))]
    return [*found, *_by_likelihood(task, rows)]


def _by_likelihood(task: Task, rows: Sequence[Row]) -> list[Scored]:
    """The metrics of answers by likelihood, which see whole rows, and as targets the places of the gold answers."""
    found = of_likelihood([row["scores"] if "loglikelihoods" in row else None for row in rows])
    gold = _gold_places(task, rows) if found else []
    return [Scored(metric, rows, gold) for metric in found]


def _gold_places(task: Task, rows: Sequence[Row]) -> list[int]:
    """Where the gold answer stands among those scored; a letter that counts as the right one stands for it."""
    answers = task.labels or tuple(ascii_uppercase)
    return [
        answers.index(row.get(ANSWERED, row["target"]) if row["prediction"] == row["target"] else row["target"])
        for row in rows
    ]


def _of_figures(task: str, figures: Mapping[str, Any], scored: Sequence[Scored]) -> Iterator[Check]:
    """A check for each figure that the record has."""
    left = dict(figures)
    for one in scored:
        ours = {name: left.pop(name)["value"] for name in one.metric.names if name in left}
        theirs = by_packages(one.metric, one.predictions, one.targets) if ours else {}
        for name, value in ours.items():
            reason = "" if name in theirs else why_not(one.metric)
            yield Check(task, name, value, theirs.get(name), reason, _tolerance(name))
    for name, figure in left.items():
        yield Check(task, name, figure["value"], None, NO_METRIC)


def _of_counts(task: str, part: Mapping[str, Any], rows: Sequence[Row], behind: Sequence[Scored]) -> Iterator[Check]:
    """A check for each number of samples that the record has, by counting the rows."""
    scored = [row for row in rows if row["outcome"] != Outcome.ERROR]
    yield Check(task, "samples", part["samples"], len(rows))
    yield Check(task, "scored samples", part["scored"], len(scored))
    if "clusters" in part:
        yield Check(task, "clusters", part["clusters"], len({cluster_of(row) for row in scored}))
    outcomes = Counter(row["outcome"] for row in rows)
    for outcome, times in part["outcomes"].items():
        yield Check(task, f"samples {outcome}", times, outcomes[outcome])
    for one in behind:
        for name in one.metric.names:
            if (figure := part["figures"].get(name)) is not None:
                yield Check(task, f"samples of {name}", figure["n"], len(one.targets))
    if "answers" in part:
        # What draws of a document say alike counts once.
        said = {(row["id"], json.dumps(row["prediction"], sort_keys=True)) for row in scored}
        given = Counter(answer for _, answer in said if answer != "null")
        counts = {"read": given.total(), "distinct": len(given), "commonest": max(given.values(), default=0)}
        for kind, times in part["answers"].items():
            yield Check(task, f"answers {kind}", times, counts[kind])
    first = list({row["id"]: number for number, row in reversed(list(enumerate(scored)))}.values())
    for one in behind:
        yield from _of_gold(task, part.get("few_gold", {}), one, [one.targets[number] for number in first])


def _of_gold(task: str, few_gold: Mapping[str, Any], one: Scored, targets: Sequence[Any]) -> Iterator[Check]:
    """A check for each label with few gold samples, and for the figure that a perfect model has."""
    for name in one.metric.names:
        if name not in few_gold:
            continue
        gold = Counter(label for target in targets for label in _labels(target))
        for label, times in few_gold[name]["gold"].items():
            yield Check(task, f"gold samples of {label} for {name}", times, gold[label])
        perfect = by_packages(one.metric, targets, targets)
        reason = "" if name in perfect else why_not(one.metric)
        yield Check(task, f"{name} of a perfect model", few_gold[name]["perfect"], perfect.get(name), reason)


def _labels(target: Any) -> Iterable[str]:
    """The labels that a gold answer counts for: itself, those of a set, or the types of its entities."""
    if isinstance(target, str):
        return (target,)
    return {one for one in target if isinstance(one, str)} or [one[0] for one in target]


def _of_reliability(task: Task, curve: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> Iterator[Check]:
    """Accuracy and mean confidence of each bin of the reliability curve."""
    theirs = reliability_curve(rows, _gold_places(task, rows), "uniform")
    if len(theirs) != len(curve):
        yield Check(task.name, "bins of the reliability curve", len(curve), len(theirs))
        return
    for ours, (accuracy, confidence, _) in zip(curve, theirs, strict=True):
        bin_name = f"confidence {ours['low']:.1f} to {ours['high']:.1f}"
        yield Check(task.name, f"accuracy, {bin_name}", ours["accuracy"]["value"], accuracy)
        yield Check(task.name, f"mean confidence, {bin_name}", ours["confidence"], confidence)


def _of_draws(
    task: Task, figures: Mapping[str, Any], rows: Sequence[Row], settings: Mapping[str, Any]
) -> Iterator[Check]:
    """A check for each figure of a run with several draws a document, of which packages have the spread alone."""
    if not figures:
        return
    by_draw: dict[int, list[Row]] = {}
    for row in rows:
        by_draw.setdefault(draw_of(row), []).append(row)
    theirs = [
        {name: value for one in scored for name, value in by_packages(one.metric, one.predictions, one.targets).items()}
        for scored in (what_was_scored(task, of_draw, settings) for of_draw in by_draw.values())
    ]
    for name, figure in figures.items():
        metric = name.removesuffix(spread_name(""))
        values = [found[metric] for found in theirs if name == spread_name(metric) and metric in found]
        spread = stdev(values) if len(values) == len(by_draw) > 1 else None
        yield Check(task.name, name, figure["value"], spread, OF_DRAWS if spread is None else "", _tolerance(metric))


def _of_versions(name: str, part: Mapping[str, Any], rows: Sequence[Row]) -> Iterator[Check]:
    """A check for each figure of a run whose documents were asked in several versions, and for each count of these."""
    if "versions" not in part:
        return
    yield Check(name, "samples with versions", part["versions"]["samples"], len(rows))
    counts = Counter(row["outcome"] for row in rows)
    for outcome, times in part["versions"]["outcomes"].items():
        yield Check(name, f"samples with versions {outcome}", times, counts[outcome])
    figures = variant_figures(part)
    for figure, theirs in version_counts(part, rows).items():
        yield Check(name, figure, figures[figure]["value"], theirs, NOT_COUNTED if theirs is None else "")


def _tolerance(figure: str) -> float:
    return ENCODER_TOLERANCE if figure in BertScore().names else TOLERANCE


def _of_rates(task: str, rates: Mapping[str, Any], rows: Sequence[Row]) -> Iterator[Check]:
    for name, rate in rates.items():
        has = [bool(row.get(name)) if name == "budget_cut" else row["outcome"] == name for row in rows]
        yield Check(task, f"rate of {name}", rate["value"], share(has))


def _of_confusion(task: str, confusion: Mapping[str, Any], rows: Sequence[Row]) -> Iterator[Check]:
    """A check for each cell that either side has something in."""
    known = confusion["labels"]
    answers = [row["prediction"] if row["prediction"] in known else NO_ANSWER for row in rows]
    columns = [*known, NO_ANSWER]
    targets = [row["target"] for row in rows]
    # scikit-learn has no matrix without a sample.
    theirs = package("sklearn.metrics").confusion_matrix(targets, answers, labels=columns).tolist() if rows else None
    for gold, counts in enumerate(confusion["counts"]):
        for predicted, ours in enumerate(counts):
            count = theirs[gold][predicted] if theirs else 0
            if ours or count:
                yield Check(task, f"samples of {columns[gold]} answered {columns[predicted]}", ours, count)

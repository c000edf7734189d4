"""What raters said of some runs, and how they agree: as tables, and as the lines that `mibe agreement` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from mibe.analysis.agreement import Agreement, Measure, agreement_without, judge_ratings
from mibe.analysis.text import STYLES, write_csv
from mibe.errors import DataError, UsageError
from mibe.published.figures import HUMAN_FIGURES
from mibe.rating.cases import diagnosis_tasks, listed_in
from mibe.rating.scores import Marks, left_out_of, marks_of, rated, ratings_of
from mibe.rating.store import Review
from mibe.results.folder import SAMPLES
from mibe.results.run import Run
from mibe.terminal.plain import printable

EVERYBODY = "(mean)"
JUDGE = "judge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One rater's figures (or the mean of all) in one task of one run; values and intervals by name of figure."""

    run: str
    task: str
    rater: str
    rated: int
    of: int
    unsure: int
    left_out: int
    figures: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """How two raters, or a rater and the judge, agree in one task of one run."""

    run: str
    task: str
    a: str
    b: str
    agreement: Agreement


def standings(runs: Sequence[Run]) -> list[Standing]:
    """A line for each rater of each task and run and, where there are several, one for their mean."""
    found = []
    for run, task, by_rater in _rated_tasks(runs):
        groups = {rater: {rater: reviews} for rater, reviews in by_rater.items()}
        if len(by_rater) > 1:
            groups[EVERYBODY] = by_rater
        lists = listed_in(run, task)
        for rater, group in groups.items():
            part = rated(lists, group, run.record["settings"])
            found.append(
                Standing(
                    run=run.path.name,
                    task=task,
                    rater=rater,
                    rated=part["scored"],
                    of=len(lists),
                    unsure=part["unsure"],
                    left_out=part["left_out"],
                    figures={name: part["figures"][name] for name in HUMAN_FIGURES},
                )
            )
    return found


def pairs(runs: Sequence[Run]) -> list[Pair]:
    """Each two raters of a task and run, and each rater with the run's judge where it had one."""
    found = []
    for run, task, by_rater in _rated_tasks(runs):
        marks: dict[str, Marks] = {rater: marks_of(reviews) for rater, reviews in by_rater.items()}
        without = {rater: left_out_of(reviews) for rater, reviews in by_rater.items()}
        judged = judge_ratings(run.path / SAMPLES / f"{task}.jsonl")
        if judged:
            marks[JUDGE], without[JUDGE] = judged, frozenset()
        for a, b in combinations(marks, 2):
            agreement = agreement_without(without[a] | without[b], marks[a], marks[b])
            if agreement is not None:
                found.append(Pair(run=run.path.name, task=task, a=a, b=b, agreement=agreement))
    return found


def export_lines(run: Run, rater: str, task: str | None) -> Iterator[str]:
    """One rater's confirmed ratings as JSON lines {"id", "rank", "match"}, cases in the order of the sample log.

    A case that the rater left out is a line {"id", "left_out": true}.

    Raises `UsageError` for a rater or a task that is not there, or where a run has ratings of several tasks and none
    is named.
    """
    by_task = {name: by_rater for _, name, by_rater in _rated_tasks([run]) if task in (None, name)}
    if len(by_task) != 1:
        raise UsageError(f"{run.path}: name one task with ratings (--task); there is {', '.join(by_task) or 'none'}")
    ((name, by_rater),) = by_task.items()
    if rater not in by_rater:
        raise UsageError(f"{run.path}: no confirmed ratings of {rater!r}; there are some of {', '.join(by_rater)}")
    marks, left_out = marks_of(by_rater[rater]), left_out_of(by_rater[rater])
    for listed in listed_in(run, name):
        if listed.id in left_out:
            yield json.dumps({"id": listed.id, "left_out": True}, ensure_ascii=False)
        for rank in range(1, len(listed.diagnoses) + 1):
            if (key := (listed.id, rank)) in marks:
                yield json.dumps({"id": listed.id, "rank": rank, "match": marks[key]}, ensure_ascii=False)


def _rated_tasks(runs: Sequence[Run]) -> Iterator[tuple[Run, str, dict[str, dict[str, Review]]]]:
    for run in runs:
        for task in diagnosis_tasks(run):
            if by_rater := ratings_of(run, task.name):
                yield run, task.name, by_rater


def render(runs: Sequence[Run], form: str) -> str:
    """Figures and agreement in one of the forms text, markdown, csv (figures alone) and json."""
    lines, both = standings(runs), pairs(runs)
    if not lines:
        raise DataError("nobody has confirmed a rating of these runs yet; mibe rate RUN opens the page")
    if form == "json":
        return json.dumps(
            {"ratings": [_flat(line) for line in lines], "agreement": [asdict(pair) for pair in both]}, indent=1
        )
    if form == "csv":
        return write_csv([_flat(line) for line in lines])
    from tabulate import tabulate

    header = (
        "run",
        "task",
        "rater",
        "rated",
        "unsure",
        "left out",
        *(name.removesuffix("_accuracy") for name in HUMAN_FIGURES),
    )
    rows = [
        [
            *map(printable, (s.run, s.task, s.rater)),
            f"{s.rated}/{s.of}",
            s.unsure,
            s.left_out,
            *(_interval(f) for f in s.figures.values()),
        ]
        for s in lines
    ]
    tables = [tabulate(rows, headers=header, tablefmt=STYLES[form], disable_numparse=True)]
    if both:
        agreed = [
            [
                *map(printable, (p.run, p.task, p.a, p.b)),
                p.agreement.n,
                _measure(p.agreement.agreement),
                _measure(p.agreement.kappa),
                p.agreement.wrong_reference,
            ]
            for p in both
        ]
        names = ("run", "task", "A", "B", "marks", "agreement", "Cohen's kappa", "cases left out")
        tables.append(tabulate(agreed, headers=names, tablefmt=STYLES[form], disable_numparse=True))
    return "\n\n".join(tables)


def _interval(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f} – {figure['high']:.3f})"


def _measure(measure: Measure) -> str:
    if measure.value is None:
        return "–"
    if measure.low is None:
        return f"{measure.value:.3f}"
    return f"{measure.value:.3f} ({measure.low:.3f} – {measure.high:.3f})"


def _flat(line: Standing) -> dict[str, Any]:
    figures = {
        (name if key == "value" else f"{name}_{key}"): figure[key]
        for name, figure in line.figures.items()
        for key in ("value", "low", "high")
    }
    plain = {key: getattr(line, key) for key in ("run", "task", "rater", "rated", "of", "unsure", "left_out")}
    return plain | figures

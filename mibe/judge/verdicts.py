"""A judge's verdicts in a run: given to the samples of a task, and kept with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from mibe.data_use import is_credentialed, without_text_in_errors
from mibe.errors import UsageError
from mibe.judge.judges import DEPTH, QUESTION, Case, Judge, Judgement, Verdict
from mibe.metrics.diagnosis import TopKAccuracy
from mibe.metrics.diagnosis_names import accepted_names
from mibe.results.log import Row, SampleLog, latest_rows
from mibe.task import Category, Outcome, Task
from mibe.terminal.progress import Progress

CHUNK = 256
"""Samples that a judge is asked about together."""

TOP_K = TopKAccuracy(DEPTH)


def is_judged(task: Task) -> bool:
    """Whether a judge has a say in the scores of this task."""
    return task.category is Category.DIAGNOSIS


def judged_tasks(tasks: Sequence[Task]) -> list[Task]:
    """Those of the tasks that are judged. Raises `UsageError` where there is none."""
    found = [task for task in tasks if is_judged(task)]
    if not found:
        raise UsageError("--judge is for diagnoses, and none of the tasks is a diagnosis task; leave it out")
    return found


def describe_judge(judge: Judge) -> dict[str, Any]:
    """The judge as it stands in the run record."""
    model = judge.model
    return {
        "name": judge.name,
        "identity": judge.identity,
        "is_remote": model is not None and model.is_remote,
        "question": None if model is None else QUESTION,
    }


def judge_samples(judge: Judge, task: Task, samples: Path, progress: Progress) -> None:
    """Bring the sample log of one task to verdicts for every sample that has a response."""
    answered = [row for row in latest_rows(samples) if row["outcome"] != Outcome.ERROR]
    waiting = [row for row in answered if "verdicts" not in row]
    progress.start(f"{task.name}, judge {judge.name}", len(answered), len(answered) - len(waiting))
    with closing(SampleLog(samples, private=is_credentialed(task))) as log:
        for row in judge_rows(judge, task, waiting):
            log.append(row)
            progress.advance()
        log.sync()
    progress.stop()


def judge_rows(judge: Judge, task: Task, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows with their verdicts.

    A sample on which the judge failed becomes an error: it is not scored, and tried again when a run is resumed.
    """
    remaining = iter(rows)
    while chunk := list(islice(remaining, CHUNK)):
        for row, judgement in zip(chunk, _ask(judge, task, [_case(row) for row in chunk]), strict=True):
            yield _with_judgement(row, judgement)


def _ask(judge: Judge, task: Task, cases: Sequence[Case]) -> list[Judgement]:
    found: list[Judgement] = []

    def ask() -> None:
        found.extend(judge.judge(cases))

    if judge.model is None:
        ask()
    else:
        without_text_in_errors(task, judge.model, ask)
    return found


def _case(row: Row) -> Case:
    return Case(tuple(row["prediction"] or ()), accepted_names(row["target"]))


def _with_judgement(row: Row, judgement: Judgement) -> Row:
    if judgement.error is not None:
        return row | {"outcome": Outcome.ERROR.value, "error": judgement.error}
    return with_verdicts(row, judgement.verdicts)


def with_verdicts(row: Row, verdicts: Iterable[Verdict]) -> Row:
    """The row with its verdicts, and with the scores that follow from them."""
    judged = row | {"verdicts": [asdict(verdict) for verdict in verdicts]}
    values = TOP_K.values([matches(judged)], [row["target"]])[0].tolist()
    return judged | {"scores": dict(zip(TOP_K.names, values, strict=True))}


def keep_verdicts(row: Row) -> Row:
    """A row whose output was parsed again, with the verdicts that were given on the diagnoses now read from it.

    A diagnosis that nobody judged counts as one whose verdict cannot be read.
    """
    if "verdicts" not in row:
        return row
    given = {verdict["diagnosis"]: verdict for verdict in row["verdicts"]}
    kept: list[Verdict] = []
    for rank, diagnosis in enumerate((row["prediction"] or ())[:DEPTH], start=1):
        if any(verdict.match for verdict in kept):
            break
        unjudged = {"diagnosis": diagnosis, "match": None, "raw": None, "source": "unjudged"}
        kept.append(Verdict(**given.get(diagnosis, unjudged) | {"rank": rank}))
    return with_verdicts(row, kept)


def matches(row: Mapping[str, Any]) -> list[bool | None]:
    """The matches of a row's verdicts, from the first rank on."""
    return [verdict["match"] for verdict in row["verdicts"]]

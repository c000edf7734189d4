"""Scoring without a model: text generated elsewhere, single outputs, and finished runs after a parser changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mibe
from mibe import protocols
from mibe.data import store
from mibe.data_use import check_egress, check_names, is_credentialed, note
from mibe.documents import Documents
from mibe.errors import DataError, RunError
from mibe.jsonlines import json_lines, read_json_lines
from mibe.judging import Judging, load_judge
from mibe.models.base import Response
from mibe.parsers.outcome import read
from mibe.progress import Progress, Silent
from mibe.registry import load_task
from mibe.results import record
from mibe.results.folder import RunFolder, read_record
from mibe.results.log import Row, SampleLog, latest_rows
from mibe.results.run import Run
from mibe.scoring import best_candidate, judge_response, judged, late_metrics, with_late_scores
from mibe.task import Example, Outcome, Task
from mibe.verdicts import describe_judge, judge_rows, judged_tasks, keep_verdicts, score_task


def parse_outputs(task: Task, lines: Iterable[str], source: str = "standard input") -> Iterator[dict[str, Any]]:
    """What the task's parser reads from each line {"output", "choices"?, "finish_reason"?}, in order."""
    for number, item in json_lines(lines, source):
        output, choices = item.get("output"), item.get("choices") or ()
        if not isinstance(output, str):
            raise DataError(f'{source}, line {number}: "output" is missing or not text')
        if not isinstance(choices, list | tuple) or not all(isinstance(choice, str) for choice in choices):
            raise DataError(f'{source}, line {number}: "choices" is not a list of texts')
        finish_reason = item.get("finish_reason") or "stop"
        found = read(output, finish_reason, task.parser, choices=tuple(choices), inputs=item.get("inputs") or {})
        yield {"prediction": found.value, "outcome": found.outcome.value}


def read_outputs(path: Path, known: set[str], *, partial: bool) -> dict[str, dict[str, Any]]:
    """Outputs by id. Raises `DataError` for unknown, repeated or (unless `partial`) missing ids."""
    found: dict[str, dict[str, Any]] = {}
    for number, item in read_json_lines(path):
        ident = str(item.get("id", ""))
        if "id" not in item or not isinstance(item.get("output"), str):
            raise DataError(f'{path}, line {number}: each line is {{"id": …, "output": text}}')
        if ident in found:
            raise DataError(f"{path}, line {number}: the id {ident!r} stands there twice; keep one of them")
        if ident not in known:
            raise DataError(
                f"{path}, line {number}: the id {ident!r} is not in the data; "
                f"ids look like {next(iter(sorted(known)), '')!r}"
            )
        found[ident] = item
    missing = known - set(found)
    if missing and not partial:
        raise DataError(
            f"{path}: {len(missing)} of {len(known)} documents have no output, {min(missing)!r} first; "
            "add them, or give --partial to score those that are there"
        )
    if not found:
        raise DataError(f"{path} holds no outputs")
    return found


def score_outputs(
    task: Task,
    path: Path,
    *,
    split: str = "test",
    partial: bool = False,
    bertscore: str | None = None,
    judge: Judging | None = None,
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
    resamples: int = 1000,
    seed: int = 1234,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Scores, as in a run record, of text that was generated elsewhere; the options are those of `evaluate`.

    There is no run folder: `judge` and `egress`, which a run record has too, stand among the scores.
    """
    late = late_metrics([task], bertscore)[task.name]
    documents = Documents.select(task, split, None, seed)
    outputs = read_outputs(path, {example.id for example in documents}, partial=partial)

    def rows() -> Iterator[Row]:
        for example in documents:
            if example.id in outputs:
                item = outputs[example.id]
                response = Response(text=item["output"], finish_reason=item.get("finish_reason") or "stop")
                yield {"id": example.id, "finish_reason": response.finish_reason} | judge_response(
                    task, example, response
                )

    check_names(allow_egress)
    said: dict[str, Any] = {"judge": None, "egress": []}
    if judge is None:
        scored = with_late_scores(rows(), late)
    else:
        scored, said = _judged_rows(task, rows(), judge, allow_egress, agreement, progress or Silent())
    data = {"split": split, "manifest": store.load_manifest(task.data_name)}
    head = {"title": task.title, "version": task.version, "headline": task.headline, "data": data}
    return head | said | score_task(task, scored, late=late, resamples=resamples, seed=seed)


def _judged_rows(
    task: Task,
    rows: Iterable[Row],
    judge: Judging,
    allow_egress: Collection[str],
    agreement: str | None,
    progress: Progress,
) -> tuple[list[Row], dict[str, Any]]:
    """The rows with verdicts; and judge and egress, as a run record has them. What leaves is told before it leaves."""
    judged_tasks([task])
    with closing(load_judge(judge)) as arbiter:
        leaving = None if arbiter.model is None else check_egress(task, arbiter.model, allow_egress, agreement)
        told = None if arbiter.model is None else note(task, arbiter.model)
        if leaving is not None:
            told = (
                f"text of {task.name} goes to {leaving.receiver}, which its user says is permitted: {leaving.agreement}"
            )
        if told is not None:
            progress.message(told)
        said = {"judge": describe_judge(arbiter), "egress": [] if leaving is None else [asdict(leaving)]}
        return list(judge_rows(arbiter, task, rows)), said


def rescore(path: str | Path, *, bertscore: str | None = None) -> Run:
    """Score a finished run again from its raw text with today's parsers and metrics; the old record is kept.

    The protocol stays the run's own. `bertscore` is as in `Settings`; None keeps what the run had.

    Raises
    ------
    RunError
        When the run is not finished or in use, or a sample is no longer in the data.
    """
    folder_path = Path(path)
    old = read_record(folder_path)
    if not old["tasks"] or any("outcomes" not in part for part in old["tasks"].values()):
        raise RunError(f"{path} is not finished; run its command again first")
    settings = old["settings"] | {"bertscore": bertscore or old["settings"].get("bertscore")}
    tasks = [protocols.apply(old["protocol"], load_task(name)) for name in old["tasks"]]
    late = late_metrics(tasks, settings["bertscore"])
    with RunFolder.hold(folder_path) as folder:
        # All that can fail comes before the old logs are moved away.
        rows = {
            task.name: with_late_scores(
                _judge_again(task, folder.samples(task.name), old["tasks"][task.name]), late[task.name]
            )
            for task in tasks
        }
        parts = {}
        for task in tasks:
            scores = score_task(
                task, rows[task.name], late=late[task.name], resamples=settings["resamples"], seed=settings["seed"]
            )
            parts[task.name] = old["tasks"][task.name] | scores | {"version": task.version}
        kept = folder.keep_history(rows, private=[task.name for task in tasks if is_credentialed(task)])
        for task in tasks:
            _write_log(folder.samples(task.name), rows[task.name], private=is_credentialed(task))
        new = old | {
            "mibe_version": mibe.__version__,
            "settings": settings,
            "rescored": record.now(),
            "earlier": str(kept.relative_to(folder.path)),
            "tasks": parts,
        }
        folder.write_record(new)
    return Run(folder_path, new)


def _write_log(path: Path, rows: Iterable[Row], *, private: bool) -> None:
    with closing(SampleLog(path, private=private)) as log:
        log.extend(rows)


def _judge_again(task: Task, samples: Path, part: dict[str, Any]) -> list[Row]:
    wanted = {row["id"]: row for row in latest_rows(samples)}
    rows = []
    for example in Documents.select(task, part["data"]["split"], None, 0):
        if example.id in wanted:
            rows.append(_judged_row(task, example, wanted.pop(example.id)))
    if wanted:
        raise RunError(
            f"{len(wanted)} samples of {task.name} are not in the data here, {min(wanted)!r} first; "
            f"prepare the data the run was made with (mibe data prepare {task.data_name} --from PATH)"
        )
    return rows


def _judged_row(task: Task, example: Example, row: Row) -> Row:
    if row["outcome"] == Outcome.ERROR:
        return row
    if "loglikelihoods" in row:
        return row | judged(task, example, best_candidate(task, example, row["loglikelihoods"]))
    response = Response(text=row["output"], finish_reason=row["finish_reason"])
    return keep_verdicts(row | judge_response(task, example, response))

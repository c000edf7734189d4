"""Scoring without a model: text that was generated elsewhere, and what a parser reads from single outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mibe.data import store
from mibe.data.jsonlines import json_lines
from mibe.data.rows import TABLES, read_rows
from mibe.data_use import check_egress, check_names, note
from mibe.errors import DataError
from mibe.judge.judges import Judging, load_judge
from mibe.judge.verdicts import describe_judge, judge_rows, judged_tasks
from mibe.models.base import FinishReason, Response
from mibe.models.reasoning import was_cut
from mibe.parsers.explaining import explain
from mibe.parsers.outcome import read
from mibe.parsers.reasoning import opened_by, split
from mibe.results.log import Row
from mibe.run.documents import Documents
from mibe.run.reading import judge_response
from mibe.run.scoring import late_metrics, score_task, with_late_scores
from mibe.task import Task
from mibe.terminal.characters import sound
from mibe.terminal.plain import cell
from mibe.terminal.progress import Progress, Silent


def parse_outputs(
    task: Task, lines: Iterable[str], source: str = "standard input", *, why: bool = False
) -> Iterator[dict[str, Any]]:
    """What the task's parser reads from each line {"output", "choices"?, "finish_reason"?, "prompt"?}, in order.

    Of the prompt only its end counts: where that opens a reasoning, the output begins inside it. With `why`, each says
    which rule read it.
    """
    for number, item in json_lines(lines, source):
        output, choices = item.get("output"), item.get("choices") or ()
        if not isinstance(output, str):
            raise DataError(f'{source}, line {number}: "output" is missing or not text')
        if not isinstance(choices, list | tuple) or not all(isinstance(choice, str) for choice in choices):
            raise DataError(f'{source}, line {number}: "choices" is not a list of texts')
        item["output"] = output = sound(output)
        finish_reason = item.get("finish_reason") or "stop"
        answer_at = _answer_at(item)
        answer = None if answer_at is None else output[answer_at:]
        shown, inputs = tuple(map(sound, choices)), item.get("inputs") or {}
        found = read(answer, finish_reason, task.parser, choices=shown, inputs=inputs)
        said = {}
        if why:
            said["why"] = explain(answer, found, finish_reason, task.parser, choices=shown, inputs=inputs)
        yield {"prediction": found.value, "outcome": found.outcome.value, **said}


def _answer_at(item: Mapping[str, Any]) -> int | None:
    """Where the answer begins in an output, whose prompt may have opened a reasoning."""
    prompt = item.get("prompt")
    return split(item["output"], opened_by(prompt) if isinstance(prompt, str) else None)


def read_outputs(path: Path, known: set[str], *, partial: bool) -> dict[str, dict[str, Any]]:
    """Outputs by id, of JSON lines or a table.

    Raises `DataError` for unknown, repeated or (unless `partial`) missing ids.
    """
    found: dict[str, dict[str, Any]] = {}
    # Tables that mibe writes have an apostrophe before an id that a spreadsheet would run.
    written = {shown: ident for ident in known if (shown := cell(ident)) != ident}
    for number, item in read_rows(path):
        ident = str(item.get("id", ""))
        ident = written.get(ident, ident)
        if "id" not in item or not isinstance(item.get("output"), str):
            raise DataError(f"{path}, line {number}: {_form(path, item)}")
        if ident in found:
            raise DataError(f"{path}, line {number}: the id {ident!r} stands there twice; keep one of them")
        if ident not in known:
            raise DataError(
                f"{path}, line {number}: the id {ident!r} is not in the data; "
                f"ids look like {next(iter(sorted(known)), '')!r}"
            )
        found[ident] = item | {"output": sound(item["output"])}
    missing = known - set(found)
    if missing and not partial:
        raise DataError(
            f"{path}: {len(missing)} of {len(known)} documents have no output, {min(missing)!r} first; "
            "add them, or give --partial to score those that are there"
        )
    if not found:
        raise DataError(f"{path} holds no outputs")
    return found


def _form(path: Path, item: Mapping[str, Any]) -> str:
    if path.suffix.lower() in TABLES:
        return f"the columns are id and output (and finish_reason, prompt, where known), not {', '.join(item)}"
    return 'each line is {"id": …, "output": text}'


def score_outputs(
    task: Task,
    path: Path,
    *,
    split: str = "test",
    partial: bool = False,
    bertscore: str | None = None,
    bartscore: str | None = None,
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
    late = late_metrics([task], {"bertscore": bertscore, "bartscore": bartscore})[task.name]
    documents = Documents.select(task, split, None, seed)
    outputs = read_outputs(path, {example.id for example in documents}, partial=partial)

    def rows() -> Iterator[Row]:
        for example in documents:
            if example.id in outputs:
                item = outputs[example.id]
                finish_reason: FinishReason = item.get("finish_reason") or "stop"
                answer_at = _answer_at(item)
                response = Response(text=item["output"], finish_reason=finish_reason, answer_at=answer_at)
                told = {"answer_at": answer_at, "budget_cut": was_cut(finish_reason, answer_at)}
                yield (
                    {"id": example.id, "finish_reason": finish_reason} | told | judge_response(task, example, response)
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

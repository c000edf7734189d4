"""A finished run scored again from its saved text, after a parser or metric changed."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from mibe import protocols
from mibe.analysis.changes import changes, kind_of
from mibe.data.disk import disk_error
from mibe.data_use import is_credentialed
from mibe.errors import RunError
from mibe.judge.verdicts import keep_verdicts
from mibe.models.base import Response
from mibe.models.reasoning import was_cut
from mibe.own.recorded import task_of
from mibe.parsers.reasoning import Format, answer_at_again, opened_by
from mibe.results import record
from mibe.results.folder import RECORD, SAMPLES, RunFolder
from mibe.results.included import definition_of, files_of
from mibe.results.log import Row, SampleLog
from mibe.results.means import means_of
from mibe.results.run import Run, load_run, whole_samples
from mibe.run.documents import Documents
from mibe.run.likelihood import judge_likelihoods_again
from mibe.run.plan import recorded_variation
from mibe.run.reading import ANSWERED, judge_response
from mibe.run.scoring import late_metrics, score_task, with_late_scores
from mibe.run.settings import BY_LIKELIHOOD, rule_of
from mibe.task import Example, Outcome, Task
from mibe.terminal.characters import sound
from mibe.terminal.version import VERSION
from mibe.variation import Variation


def rescore(
    path: str | Path, *, bertscore: str | None = None, bartscore: str | None = None, protocol: str | None = None
) -> Run:
    """Score a finished run again from its raw text with today's parsers and metrics; the old record is kept.

    What changed stands in each task's part of the record (`changes`). Under another `protocol` than the run's own, the
    scores are a run of their own beside it, NAME-PROTOCOL, which says under which one its text was asked for.
    `bertscore` and `bartscore` are as in `Settings`; None keeps what the run had.

    Raises
    ------
    RunError
        When the run is not finished or in use, or a sample is no longer in the data.
    UsageError
        For a task that the protocol has no rule for, or whose answers it does not read.
    """
    own = Path(path)
    old = load_run(own).record
    if not old["tasks"] or any("outcomes" not in part for part in old["tasks"].values()):
        raise RunError(f"{path} is not finished; run its command again first")
    late = {"bertscore": bertscore, "bartscore": bartscore}
    changed = {name: value or old["settings"].get(name) for name, value in late.items()}
    if protocol is None or protocol == old["protocol"]:
        return _score_again(own, old | {"settings": old["settings"] | changed})
    wanted = under(protocol, old | {"settings": old["settings"] | changed})
    with _beside(own, protocol) as folder:
        run = _score_again(folder, wanted)
        place = own.with_name(f"{own.name}-{protocol}")
        folder.rename(place)
    return Run(place, run.record)


def under(protocol: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a run as it is scored by another protocol: its settings say how its text was asked for."""
    settings = record["settings"]
    asked_in = settings.get("prompts") or protocols.OWN_PROMPTS[record["protocol"]]
    asked_under = settings.get("asked_under", record["protocol"])
    new = {
        **{name: value for name, value in settings.items() if name != "asked_under"},
        "protocol": protocol,
        "prompts": None if asked_in == protocols.OWN_PROMPTS.get(protocol) else asked_in,
        **({} if asked_under == protocol else {"asked_under": asked_under}),
    }
    # The command that began the run would not go on with this one.
    return {**record, "protocol": protocol, "settings": new, "fingerprint": None}


@contextmanager
def _beside(run: Path, protocol: str) -> Iterator[Path]:
    """A copy of a run's record and sample logs, which is gone at the end unless it has got another name."""
    place = run.with_name(f"{run.name}-{protocol}")
    if place.exists():
        raise RunError(f"{place} is there already; score it again (mibe rescore {place}), or move it away first")
    aside = run.with_name(f".{place.name}.{os.getpid()}")
    try:
        shutil.copytree(run / SAMPLES, aside / SAMPLES)
        shutil.copy2(run / RECORD, aside / RECORD)
        yield aside
    except OSError as error:
        raise disk_error(error, place) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _score_again(path: Path, old: dict[str, Any]) -> Run:
    """Score the run in a folder, whose record is to be `old` with other figures."""
    settings = old["settings"]
    tasks = [protocols.recorded(old, task_of(old, name)) for name in old["tasks"]]
    late = late_metrics(tasks, settings)
    with RunFolder.hold(path) as folder:
        # All that can fail comes before the old logs are moved away.
        rows, read = {}, {}
        for task in tasks:
            variation = recorded_variation(old, task.name)
            again, read[task.name] = _judge_again(
                task, folder.samples(task.name), old["tasks"][task.name], settings, variation
            )
            rows[task.name] = with_late_scores(again, late[task.name])
        parts = {}
        for task in tasks:
            scores = score_task(
                task, rows[task.name], late=late[task.name], resamples=settings["resamples"], seed=settings["seed"]
            )
            # Without the curve, the likelihoods are those of texts alone, and the older rule stands.
            rule = {"rule": BY_LIKELIHOOD} if "reliability" in scores else {}
            before = old["tasks"][task.name]
            # A judge has said which figure is shown first.
            part = before | {"headline": task.headline} | scores | rule | {"version": task.version}
            part |= definition_of(task.name)
            parts[task.name] = part | {"changes": changes(before, part, read[task.name])}
        kept = folder.keep_history(rows, private=[task.name for task in tasks if is_credentialed(task)])
        for task in tasks:
            _write_log(folder.samples(task.name), rows[task.name], private=is_credentialed(task))
        new = old | {
            "mibe_version": VERSION,
            "rescored": record.now(),
            "earlier": str(kept.relative_to(folder.path)),
            **({"include": files} if (files := files_of(parts)) else {}),
            "tasks": parts,
            "means": means_of(parts),
        }
        folder.write_record(new)
    return Run(path, new)


def _write_log(path: Path, rows: Iterable[Row], *, private: bool) -> None:
    with closing(SampleLog(path, private=private)) as log:
        log.extend(rows)


def _judge_again(
    task: Task, samples: Path, part: dict[str, Any], settings: dict[str, Any], variation: Variation | None
) -> tuple[list[Row], dict[str, list[str]]]:
    """The rows as they are read today, and the ids of those that are read otherwise, by `kind_of`."""
    wanted: dict[str, list[Row]] = {}
    for row in whole_samples(task, samples):
        wanted.setdefault(row["id"], []).append(row)
    # A log of before answers were told apart; where prompts may not be kept, only marks of the model's own are seen.
    opened = opened_by(part.get("first_prompt") or "")
    rule = rule_of(settings, part)
    rows: list[Row] = []
    read: dict[str, list[str]] = defaultdict(list)
    documents = Documents.select(task, part["data"]["split"], None, 0)
    versions = documents if variation is None else chain.from_iterable(map(variation.of, documents))
    for example in versions:
        if example.id in wanted:
            asked = task if variation is None else variation.task_of(example)
            for row in wanted.pop(example.id):
                again = _judged_row(asked, example, row, opened, rule)
                rows.append(again)
                if kind := kind_of(row, again):
                    read[kind].append(row["id"])
    if wanted:
        raise RunError(
            f"{sum(map(len, wanted.values()))} samples of {task.name} are not in the data here, {min(wanted)!r} first; "
            f"prepare the data the run was made with (mibe data prepare {task.data_name} --from PATH)"
        )
    return rows, read


def _judged_row(task: Task, example: Example, row: Row, opened: Format | None, rule: str) -> Row:
    if row["outcome"] == Outcome.ERROR:
        return row
    found = judge_likelihoods_again(task, example, row, rule) if "loglikelihoods" in row else None
    row = {name: value for name, value in row.items() if name != ANSWERED} | {"output": sound(row["output"])}
    if found is not None:
        return row | found
    # An empty output holds no reasoning: that of some APIs is never shown.
    answer_at = answer_at_again(row["output"], row.get("answer_at", 0), opened if row["output"] else None)
    response = Response(text=row["output"], finish_reason=row["finish_reason"], answer_at=answer_at)
    if was_cut(row["finish_reason"], answer_at):
        row = row | {"budget_cut": True}
    elif row.get("answer_at", 0) is None:
        row = {name: value for name, value in row.items() if name != "budget_cut"}
    return keep_verdicts(row | {"answer_at": answer_at} | judge_response(task, example, response))

"""The third step of a run: the responses of all tasks, and each one's scores when it is complete."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from shlex import quote

from mibe.data_use import without_text_of_any
from mibe.errors import LimitReached, MibeError, RunError
from mibe.judge.verdicts import is_judged, judge_samples
from mibe.meters.energy import EnergyMeter
from mibe.metrics.base import Mean
from mibe.results import record
from mibe.results.log import SampleLog, latest_rows
from mibe.results.means import means_of
from mibe.results.run import Run
from mibe.run import description
from mibe.run.opening import Opened
from mibe.run.plan import Plan, Prompts
from mibe.run.scoring import score_task, with_late_scores
from mibe.run.stream import ResponseStream
from mibe.task import Outcome

LONGEST = 1000
"""Characters of a library's message that are kept in a record."""


def run(opened: Opened) -> Run:
    """Ask, score and record every task. Whatever ends it early is in the record, and what was done is kept."""
    if not opened.session.ranks.is_first:
        return _run_beside(opened)
    model, folder, written = opened.session.model, opened.session.folder, opened.record
    folder.write_record(written)
    opened.session.progress.message(f"run folder: {folder.path}")
    stream = ResponseStream(opened.session, opened.plans, partial(_describe, opened))
    meter = EnergyMeter.start()
    try:
        without_text_of_any(stream.in_flight, model.name, partial(_score_all, opened, stream))
    except BaseException as error:
        _end(opened, meter, _status(error), _reason(error))
        raise
    _end(opened, meter, "finished" if record.is_complete(written) else "incomplete")
    return Run(folder.path, opened.session.ranks.agree(written))


def _status(error: BaseException) -> str:
    """What became of a run that this ended."""
    if isinstance(error, LimitReached):
        return "incomplete"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"


def _reason(error: BaseException) -> str:
    """Why a run ended, in one line."""
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "SIGINT"
    said = " ".join(str(error).split())
    return said if isinstance(error, MibeError) else f"{type(error).__name__}: {said}"[:LONGEST]


def _end(opened: Opened, meter: EnergyMeter, status: str, reason: str | None = None) -> None:
    """The last word of this session in the record; and to the user, where no model ever answered."""
    folder = opened.session.folder
    record.note_services(opened.record, opened.services)
    record.end(opened.record, opened.session.model, meter.stop(), status, reason)
    if status == "finished":
        folder.finish(opened.record)
        return
    if reason is None:
        folder.write_record(opened.record)
    else:
        # A disk that cannot be written may be what ended the run, and is what its user is to hear of.
        with suppress(RunError):
            folder.write_record(opened.record)
    if not record.has_answers(folder.path):
        opened.session.progress.message(
            f"no answer came: the same command goes on in {folder.path}, or clean up by rm -r {quote(str(folder.path))}"
        )


def _run_beside(opened: Opened) -> Run:
    """The part of a process other than the first: responses, and nothing else."""
    session = opened.session
    stream = ResponseStream(session, opened.plans, lambda plan, builder: None)

    def respond() -> None:
        for _ in stream:
            continue

    without_text_of_any(stream.in_flight, session.model.name, respond)
    return Run(session.folder.path, session.ranks.agree(opened.record))


def _describe(opened: Opened, plan: Plan, builder: Prompts) -> None:
    """What a task is, into the record before its first response; and the first prompt of all to the user."""
    session, written = opened.session, opened.record
    first = builder.build(next(iter(plan.documents)))
    written["tasks"][plan.task.name] = description.describe_task(plan, builder, first)
    session.folder.write_record(written)
    if plan is opened.plans[0] and not plan.private:
        session.progress.message(description.show_prompt(plan.task.name, first.text))


def _score_all(opened: Opened, stream: ResponseStream) -> None:
    """Score each task when its responses are there; the record is on disk after each."""
    with closing(iter(stream)) as complete:
        for plan in complete:
            _score(opened, plan, stream)
            opened.record["means"] = means_of(opened.record["tasks"])
            record.note_services(opened.record, opened.services)
            opened.session.folder.write_record(opened.record)


def _score(opened: Opened, plan: Plan, stream: ResponseStream) -> None:
    """The scores of one task, into the record."""
    session, task, settings = opened.session, plan.task, plan.settings
    samples, late = session.folder.samples(task.name), opened.late[task.name]
    if session.judge is not None and is_judged(task):
        judge_samples(session.judge, task, samples, session.progress)
        stream.show_progress()
    if late:
        _log_late_scores(samples, late, private=plan.private)
    scores = score_task(task, latest_rows(samples), late=late, resamples=settings.resamples, seed=settings.seed)
    opened.record["tasks"][task.name] |= scores | {"timing": record.timing(samples)}


def _log_late_scores(samples: Path, late: Sequence[Mean], *, private: bool) -> None:
    """Write each sample's part of the late figures into the log, where a comparison of two runs finds it."""
    rows = with_late_scores(latest_rows(samples), late)
    with closing(SampleLog(samples, private=private)) as log:
        for row in rows:
            if row["outcome"] != Outcome.ERROR:
                log.append(row)
        log.sync()

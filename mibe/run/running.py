"""The third step of a run: the responses and scores of each task, with the record on disk after each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from mibe.data_use import without_text_in_errors
from mibe.errors import LimitReached
from mibe.judge.verdicts import is_judged, judge_samples
from mibe.metrics.base import Mean
from mibe.models.service import Batching
from mibe.results import record
from mibe.results.log import SampleLog, latest_rows
from mibe.results.run import Run
from mibe.run import description
from mibe.run.opening import Opened
from mibe.run.plan import Plan
from mibe.run.responses import respond_all, submit_all
from mibe.run.scoring import score_task, with_late_scores
from mibe.task import Outcome


def run(opened: Opened) -> Run:
    """Ask, score and record every task. Whatever ends it early is in the record, and what was done is kept."""
    if not opened.session.ranks.is_first:
        return _run_beside(opened)
    model, folder, written = opened.session.model, opened.session.folder, opened.record
    folder.write_record(written)
    opened.session.progress.message(f"run folder: {folder.path}")
    try:
        if isinstance(model, Batching):
            for plan in opened.plans:
                submit = partial(submit_all, model, opened.session, plan, plan.prompts(opened.session.model))
                without_text_in_errors(plan.task, model, submit)
        for number, plan in enumerate(opened.plans):
            without_text_in_errors(plan.task, model, partial(_run_task, opened, plan, show=number == 0))
            record.note_services(written, opened.services)
            folder.write_record(written)
    except (KeyboardInterrupt, LimitReached) as stop:
        _end(opened, "incomplete" if isinstance(stop, LimitReached) else "interrupted")
        raise
    _end(opened, "finished" if record.is_complete(written) else "incomplete")
    return Run(folder.path, opened.session.ranks.agree(written))


def _end(opened: Opened, status: str) -> None:
    """The last word of this session in the record."""
    record.note_services(opened.record, opened.services)
    record.end(opened.record, opened.session.model, status)
    opened.session.folder.write_record(opened.record)


def _run_beside(opened: Opened) -> Run:
    """The part of a process other than the first: responses, and nothing else."""
    session = opened.session
    for plan in opened.plans:
        respond = partial(respond_all, session, plan, plan.prompts(session.model))
        without_text_in_errors(plan.task, session.model, respond)
    return Run(session.folder.path, session.ranks.agree(opened.record))


def _run_task(opened: Opened, plan: Plan, *, show: bool) -> None:
    """Responses, then scores, of one task; the record is on disk after each of the two."""
    session, task, settings = opened.session, plan.task, plan.settings
    folder, written, late = session.folder, opened.record, opened.late[task.name]
    builder = plan.prompts(session.model)
    first = builder.build(next(iter(plan.documents)))
    written["tasks"][task.name] = description.describe_task(plan, builder, first)
    folder.write_record(written)
    if show and not plan.private:
        session.progress.message(description.show_prompt(task.name, first.text))
    respond_all(session, plan, builder)
    samples = folder.samples(task.name)
    if session.judge is not None and is_judged(task):
        judge_samples(session.judge, task, samples, session.progress)
    if late:
        _log_late_scores(samples, late, private=plan.private)
    scores = score_task(task, latest_rows(samples), late=late, resamples=settings.resamples, seed=settings.seed)
    written["tasks"][task.name] |= scores | {"timing": record.timing(samples)}
    folder.write_record(written)


def _log_late_scores(samples: Path, late: Sequence[Mean], *, private: bool) -> None:
    """Write each sample's part of the late figures into the log, where a comparison of two runs finds it."""
    rows = with_late_scores(latest_rows(samples), late)
    with closing(SampleLog(samples, private=private)) as log:
        for row in rows:
            if row["outcome"] != Outcome.ERROR:
                log.append(row)
        log.sync()

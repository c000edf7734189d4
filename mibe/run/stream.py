"""The responses of a whole run: requests of all tasks flow into the model as one stream, no task waits for another.

Prompts are built as the model has room for them, task after task, and each answer goes to its task's log as soon as it
is there. A task ends with its last answer, whatever is under way of others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mibe.models.base import Response
from mibe.models.service import Batching
from mibe.models.streaming import chunks, likelihoods, responses
from mibe.results import schema
from mibe.results.cache import ResponseCache
from mibe.results.digests import Digests, digest, identity
from mibe.results.log import (
    Row,
    SampleLog,
    absorb_parts,
    damaged_path,
    latest_rows,
    newest_rows,
    part_of,
    set_strangers_aside,
    strange_path,
)
from mibe.run.likelihood import answer_by_likelihood
from mibe.run.plan import Plan, Prompts
from mibe.run.responses import Job, answer_of, choices, jobs, revived, row_of, stored, wanted
from mibe.run.session import Session
from mibe.task import Outcome, Task

LOOKUP = 64
"""Prompts that the cache is asked for at once: few enough not to keep a model waiting that has room for one."""

UNSYNCED = 1024
"""Rows of a log that the operating system has and that were not forced to the disk yet, at most."""

UNSAVED = 1024
CACHE_SECONDS = 30.0
"""How many responses, and for how long, may wait to go into the cache. The log is what must be safe at once, the cache
saves time; what a kill keeps out of it is brought there from the log when the run goes on."""


class ResponseStream:
    """Brings the sample log of every task to a response for each draw of each document.

    Iterating yields the plan of each task when its last response is in its log. `begin` is called with a task's plan
    before its first prompt is built. `in_flight` are the tasks that began and whose plan was not dealt with yet.

    Where several processes run, each takes its part of what is left and writes logs of its own, which the first one
    moves into the tasks' logs when all have come to their end, or when the run goes on after a break. The plans come
    then, one after another.
    """

    def __init__(self, session: Session, plans: Sequence[Plan], begin: Callable[[Plan, Prompts], None]) -> None:
        self.in_flight: list[Task] = []
        self._session = session
        self._plans = plans
        self._begin = begin
        self._shares: list[_Share] = []
        self._complete: list[_Share] = []
        self._done = self._total = 0
        self._saved = _Saved(session.cache)

    def __iter__(self) -> Generator[Plan]:
        session, who = self._session, self._session.ranks
        logs = [_read_log(session, plan) for plan in self._plans] if who.is_first else []
        found = who.agree([done for done, _ in logs])
        self._shares = [_Share(session, plan, done) for plan, done in zip(self._plans, found, strict=True)]
        for share, (_, unsaved) in zip(self._shares, logs, strict=False):
            share.unsaved = unsaved
        self._done = sum(map(len, found))
        self._total = self._done + sum(share.left for share in self._shares)
        try:
            if isinstance(session.model, Batching):
                self._submit(session.model)
            self.show_progress()
            for share, job, answer in self._answers():
                self._write(share, row_of(share.plan, job, **answer))
                self._saved.add(job.key, answer)
                if who.count == 1:
                    yield from self._handed_over(self._complete)
            session.progress.stop()
            for share in self._shares:
                share.end()
            who.agree(None)
            yield from self._handed_over([share for share in self._shares if not share.is_over])
        finally:
            for share in self._shares:
                share.close()
            self._saved.flush()

    def show_progress(self) -> None:
        """Show how far the responses are: at the beginning, and after something else had the user's eye."""
        if self._done < self._total:
            names = [plan.task.name for plan in self._plans]
            title = names[0] if len(names) == 1 else f"{len(names)} tasks"
            self._session.progress.start(title, self._total, self._done)

    def _handed_over(self, shares: list[_Share]) -> Iterator[Plan]:
        while shares:
            share = shares.pop(0)
            share.end()
            if self._session.ranks.is_first and self._session.ranks.count > 1:
                absorb_parts(share.path, private=share.plan.private)
            yield share.plan
            share.is_over = True
            self.in_flight.remove(share.plan.task)

    def _write(self, share: _Share, row: Row) -> None:
        share.write(row)
        if share.left == 0:
            self._complete.append(share)
        self._done += 1
        self._session.progress.advance()

    def _answers(self) -> Iterator[tuple[_Share, Job, dict[str, Any]]]:
        """What the model answers, as it does."""
        model = self._session.model
        if self._plans[0].settings.scoring == "loglikelihood":
            asked = ((each, choices(model, each[0].plan, each[1])) for each in self._open())
            for (share, job), (values, seconds) in likelihoods(model, asked):
                yield share, job, answer_by_likelihood(values, seconds)
        else:
            for (share, job), response in responses(model, ((each, each[1].request) for each in self._open())):
                yield share, job, {"response": response}

    def _open(self) -> Iterator[tuple[_Share, Job]]:
        """What the model is to be asked. The rows that need no model are written on the way."""
        for share in self._shares:
            if share.plan.task not in self.in_flight:
                self.in_flight.append(share.plan.task)
            self._begin(share.plan, share.builder)
            self._saved.add_all(share.answers_unsaved())
            if share.left == 0:
                self._complete.append(share)
            for job, entry in share.jobs():
                if job.rendered.problem is not None:
                    response = Response(text="", finish_reason="error", error=job.rendered.problem)
                    self._write(share, row_of(share.plan, job, response))
                elif entry is not None:
                    self._write(share, row_of(share.plan, job, **revived(entry)) | {"cached": True})
                else:
                    yield share, job

    def _submit(self, model: Batching) -> None:
        """Hand all requests to a model that wants them before it answers the first."""
        for share in self._shares:
            self.in_flight.append(share.plan.task)
            fresh = (job for job, entry in share.jobs() if entry is None and job.rendered.problem is None)
            for chunk in chunks(fresh, model.chunk_size):
                model.submit([job.request for job in chunk])


class _Share:
    """What this process has to do of one task: `left` rows, which go to the log `path`."""

    def __init__(self, session: Session, plan: Plan, done: Digests) -> None:
        self.plan = plan
        self.builder = plan.prompts(session.model)
        self.path = session.folder.samples(plan.task.name)
        self.is_over = False
        self.unsaved: Mapping[bytes, Row] = {}
        """Rows of the log whose answers may not be in the cache, since the process that wrote them was killed."""
        self._session = session
        self._done = done
        self._log: SampleLog | None = None
        self._unsynced = 0
        who = session.ranks
        self.left = (
            plan.documents.count * plan.settings.repeats - len(done)
            if who.count == 1
            else sum(len(draws) for _, draws in wanted(plan, done, who))
        )

    def jobs(self) -> Iterator[tuple[Job, Mapping[str, Any] | None]]:
        """Each draw that is wanted, its prompt built, and what the cache has for it."""
        cache, model = self._session.cache, self._session.model
        waiting = (
            job
            for example, draws in wanted(self.plan, self._done, self._session.ranks)
            for job in jobs(model, self.plan, self.builder, example, draws, cached=cache is not None)
        )
        for chunk in chunks(waiting, LOOKUP):
            found = cache.get([job.key for job in chunk if job.key is not None], schema.answer) if cache else {}
            for job in chunk:
                yield job, None if job.key is None else found.get(job.key)

    def answers_unsaved(self) -> Iterator[tuple[bytes | None, dict[str, Any]]]:
        """Cache key and answer of each of the rows `unsaved`, where its prompt is still the one that was answered."""
        if not self.unsaved:
            return
        for example in self.plan.documents:
            draws = [n for n in range(self.plan.settings.repeats) if digest(example.id, n) in self.unsaved]
            for job in jobs(self._session.model, self.plan, self.builder, example, draws, cached=True) if draws else ():
                row = self.unsaved[digest(example.id, job.draw)]
                if row["prompt_sha256"] == job.rendered.sha256:
                    yield job.key, answer_of(row)
        self.unsaved = {}

    def write(self, row: Row) -> None:
        """Add a row to the log, which is opened with the first."""
        if self._log is None:
            who = self._session.ranks
            path = self.path if who.is_first else part_of(self.path, who.rank)
            self._log = SampleLog(path, private=self.plan.private)
        self._log.append(row)
        self._unsynced += 1
        if self._unsynced == UNSYNCED:
            self._log.sync()
            self._unsynced = 0
        self.left -= 1

    def end(self) -> None:
        """Force the log to the disk; nothing more is written."""
        if self._log is not None:
            self._log.sync()
        self.close()

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None


class _Saved:
    """Responses on their way to the cache, which are written a few at a time."""

    def __init__(self, cache: ResponseCache | None) -> None:
        self._cache = cache
        self._waiting: dict[bytes, dict[str, Any]] = {}
        self._flushed = time.monotonic()

    def add(self, key: bytes | None, answer: Mapping[str, Any]) -> None:
        """Keep an answer, unless it is an error or there is no cache."""
        if key is None or answer["response"].finish_reason == "error":
            return
        self._waiting[key] = stored(answer)
        if len(self._waiting) == UNSAVED or time.monotonic() - self._flushed >= CACHE_SECONDS:
            self.flush()

    def add_all(self, answers: Iterable[tuple[bytes | None, Mapping[str, Any]]]) -> None:
        """Keep answers that an earlier session should have kept, at once."""
        for key, answer in answers:
            self.add(key, answer)
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._cache is not None:
            self._cache.put(self._waiting)
        self._waiting, self._flushed = {}, time.monotonic()


def _read_log(session: Session, plan: Plan) -> tuple[Digests, Mapping[bytes, Row]]:
    """The samples that a task's log has a response for, and the rows of them that the cache may lack.

    The log is mended and made whole first, and what is not of this run is set aside.
    """
    path = session.folder.samples(plan.task.name)
    newest = list(newest_rows(path, UNSAVED)) if session.cache is not None else []
    if damaged := absorb_parts(path, private=plan.private):
        session.progress.message(
            f"{path}: {damaged} damaged lines are set aside in {damaged_path(path).name}, and their documents "
            "asked again"
        )
    if not path.exists():
        return Digests(), {}
    draws = range(plan.settings.repeats)
    ours = Digests(digest(example.id, draw) for example in plan.documents for draw in draws)
    if strangers := set_strangers_aside(path, lambda row: _digest(row) in ours):
        session.progress.message(
            f"{path}: {strangers} samples of no document of this run are set aside in {strange_path(path).name}, and "
            "not scored"
        )
    scored = (row for row in latest_rows(path) if row.get("outcome", Outcome.ERROR) != Outcome.ERROR)
    done = Digests(_digest(row) for row in scored)
    answered = (row for row in newest if not row.get("cached") and row.get("finish_reason", "error") != "error")
    return done, {_digest(row): row for row in answered}


def _digest(row: Row) -> bytes:
    return digest(*identity(row))

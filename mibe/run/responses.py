"""Responses: each document's prompt to the cache or the model, each answer to the sample log as soon as it is there."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import compress, count, islice
from typing import Any

from mibe.errors import ModelError
from mibe.models.base import ChoiceRequest, Model, Request, Response, Sampling
from mibe.models.service import Batching
from mibe.prompting import PromptBuilder, Rendered, stop_strings
from mibe.results.cache import ResponseCache, cache_key
from mibe.results.log import Row, SampleLog, absorb_parts, damaged_path, latest_rows, part_of
from mibe.run.plan import Plan
from mibe.run.reading import best_candidate, judge_response, judged
from mibe.run.session import Session
from mibe.task import Example, Outcome

CHUNK = 1024
"""Prompts built and handed to the model at once: enough to sort by length, few enough for flat memory. A model whose
engine does better with more says so by an attribute `chunk_size`."""

CACHE_SECONDS = 30.0
"""How often responses go from a chunk into the cache. The log is what must be safe at once, the cache saves time."""

METERED = ("cached_tokens", "reasoning_tokens", "cost")
"""Fields of a response that models behind an API fill."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One document that a response is wanted for, and the ids of its worked examples where they are its own."""

    example: Example
    rendered: Rendered
    shots: tuple[str, ...] | None
    key: bytes | None


def respond_all(session: Session, plan: Plan, builder: PromptBuilder) -> None:
    """Bring the sample log of one task to a response for every document.

    Where several processes run, each takes its part of what is left and writes a log of its own, which the first one
    moves into the task's log when all have come to their end, or when the run goes on after a break.
    """
    model, cache, progress, who = session.model, session.cache, session.progress, session.ranks
    path = session.folder.samples(plan.task.name)
    done = who.agree(_done(session, plan) if who.is_first else set())
    left = plan.documents.count - len(done)
    mine = sum(who.has(position, left) for position in range(left))
    unanswered = (example for example in plan.documents if example.id not in done)
    size = getattr(model, "chunk_size", CHUNK)
    log = SampleLog(path if who.is_first else part_of(path, who.rank), private=plan.private)
    try:
        progress.start(plan.task.name, len(done) + mine, len(done))
        for chunk in _chunks(compress(unanswered, (who.has(position, left) for position in count())), size):
            jobs = []
            for example in chunk:
                job = _job(model, plan, builder, example, cached=cache is not None)
                if job.rendered.problem is None:
                    jobs.append(job)
                else:
                    response = Response(text="", finish_reason="error", error=job.rendered.problem)
                    log.append(_row(plan, job, response))
                    progress.advance()
            for row in _answer(model, plan, jobs, cache):
                log.append(row)
                progress.advance()
            log.sync()
        progress.stop()
    finally:
        log.close()
    who.agree(None)
    if who.is_first:
        absorb_parts(path, private=plan.private)


def submit_all(model: Batching, session: Session, plan: Plan, builder: PromptBuilder) -> None:
    """Hand the requests of one task to a model that wants all of a run's before it answers the first."""
    done = _done(session, plan)
    cache = session.cache
    for chunk in _chunks((example for example in plan.documents if example.id not in done), model.chunk_size):
        jobs = [_job(session.model, plan, builder, example, cached=cache is not None) for example in chunk]
        stored = cache.get([job.key for job in jobs if job.key is not None]) if cache else {}
        sampling = _sampling(session.model, plan)
        model.submit(
            [
                Request(job.rendered.messages, job.rendered.text, sampling)
                for job in jobs
                if job.rendered.problem is None and job.key not in stored
            ]
        )


def _done(session: Session, plan: Plan) -> set[str]:
    """Ids of the documents that a task's log has a response for; the log is mended and made whole first."""
    path = session.folder.samples(plan.task.name)
    if damaged := absorb_parts(path, private=plan.private):
        session.progress.message(
            f"{path}: {damaged} damaged lines are set aside in {damaged_path(path).name}, and their documents "
            "asked again"
        )
    return {row["id"] for row in latest_rows(path) if row["outcome"] != Outcome.ERROR}


def _job(model: Model, plan: Plan, builder: PromptBuilder, example: Example, *, cached: bool) -> _Job:
    rendered = builder.build(example)
    # Shots that all documents share are listed once, in the run record.
    own_shots = plan.shots is not None and plan.shots.per_document
    return _Job(
        example,
        rendered,
        tuple(shot.id for shot in builder.shots_for(example)) if own_shots else None,
        _key(model, plan, example, rendered) if cached and rendered.problem is None else None,
    )


def _answer(model: Model, plan: Plan, jobs: Sequence[_Job], cache: ResponseCache | None) -> Iterator[Row]:
    """Rows for the jobs: those in the cache at once, the others as the model answers."""
    stored = cache.get([job.key for job in jobs if job.key is not None]) if cache else {}
    missing = []
    for job in jobs:
        if job.key in stored:
            yield _row(plan, job, **_revive(stored[job.key])) | {"cached": True}
        else:
            missing.append(job)
    if not missing:
        return
    ask = _choose if plan.settings.scoring == "loglikelihood" else _generate
    fresh: dict[bytes, dict[str, Any]] = {}
    saved = time.monotonic()
    try:
        for job, answer in ask(model, plan, missing):
            yield _row(plan, job, **answer)
            if cache is not None and job.key is not None and answer["response"].finish_reason != "error":
                fresh[job.key] = {**answer, "response": asdict(answer["response"])}
                if time.monotonic() - saved >= CACHE_SECONDS:
                    cache.put(fresh)
                    fresh, saved = {}, time.monotonic()
    finally:
        if cache is not None:
            cache.put(fresh)


def _revive(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {**stored, "response": Response(**stored["response"])}


def _generate(model: Model, plan: Plan, jobs: Sequence[_Job]) -> Iterator[tuple[_Job, dict[str, Any]]]:
    sampling = _sampling(model, plan)
    requests = [Request(job.rendered.messages, job.rendered.text, sampling) for job in jobs]
    for index, response in model.generate(requests):
        yield jobs[index], {"response": response}


def _choose(model: Model, plan: Plan, jobs: Sequence[_Job]) -> Iterator[tuple[_Job, dict[str, Any]]]:
    # After a chat template's generation prompt the answer stands alone; after a cue it follows a space.
    space = "" if model.is_chat else " "
    requests = [
        ChoiceRequest(job.rendered.text, tuple(space + text for _, text in plan.task.candidates(job.example)))
        for job in jobs
    ]
    before = time.perf_counter()
    for index, values in model.loglikelihood(requests):
        now = time.perf_counter()
        response = Response(text="", finish_reason="stop", seconds=now - before)
        before = now
        yield jobs[index], {"response": response, "loglikelihoods": list(values)}


def _sampling(model: Model, plan: Plan) -> Sampling:
    return Sampling(
        max_new_tokens=plan.max_new_tokens,
        stop=stop_strings(plan.task.prompt, chat=model.is_chat),
        seed=plan.settings.seed,
        thinking_budget=plan.thinking_budget,
        at_budget=plan.settings.at_budget,
    )


def _key(model: Model, plan: Plan, example: Example, rendered: Rendered) -> bytes:
    if model.identity is None:
        raise ModelError(f"{model.name} has no identity, so its responses cannot be cached")
    asked = (
        [text for _, text in plan.task.candidates(example)]
        if plan.settings.scoring == "loglikelihood"
        else _sampling(model, plan).in_key()
    )
    version = [plan.task.version, plan.settings.protocol]
    return cache_key(model.identity, rendered.text, asked, plan.task.name, version)


def _row(plan: Plan, job: _Job, response: Response, loglikelihoods: Sequence[float] | None = None) -> Row:
    """One line of the sample log."""
    row: Row = {
        "id": job.example.id,
        "prompt_sha256": job.rendered.sha256,
        "output": response.text,
        "finish_reason": response.finish_reason,
        "error": response.error,
    }
    if job.shots is not None:
        row["shots"] = list(job.shots)
    if loglikelihoods is None:
        row |= {"answer_at": response.answer_at, **({"budget_cut": True} if response.budget_cut else {})}
        row |= judge_response(plan.task, job.example, response)
    else:
        row |= judged(plan.task, job.example, best_candidate(plan.task, job.example, loglikelihoods))
        row["loglikelihoods"] = list(loglikelihoods)
    return row | {
        "cut": job.rendered.cut,
        "prompt_tokens": response.prompt_tokens,
        "new_tokens": response.new_tokens,
        "seconds": response.seconds,
        "cached": False,
        **{name: value for name in METERED if (value := getattr(response, name)) is not None},
    }


def _chunks(documents: Iterable[Example], size: int) -> Iterator[list[Example]]:
    iterator = iter(documents)
    while chunk := list(islice(iterator, size)):
        yield chunk

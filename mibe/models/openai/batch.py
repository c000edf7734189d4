"""The Batch API: prompts as files, jobs that take up to a day, half the price; and no job is paid for twice.

A job is known by the hashes of the requests in it. They are kept in the cache folder, with the job's id and without any
text, from before the job is created until its answers were taken, so that the same command after a kill finds the job
and does not make another.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NoReturn, TypeVar

from mibe.data.disk import cache_dir
from mibe.errors import LimitReached, ModelError
from mibe.models.base import Request, Response
from mibe.models.openai.answers import read_answer
from mibe.models.openai.caller import raise_if_shared
from mibe.models.openai.endpoint import Endpoint
from mibe.models.openai.format import Problem, body_of, path_of, problem_in
from mibe.models.openai.jobs import MOST_REQUESTS, Job, Ledger, input_files
from mibe.models.openai.model import OpenAIModel, failed
from mibe.models.openai.policy import Action, action_for
from mibe.models.openai.transport import Broken, Reply
from mibe.models.pricing import Price
from mibe.models.streaming import in_chunks

FIRST_POLL = 5.0
LOST = "lost"
OVER = frozenset({"completed", "failed", "expired", "cancelled", LOST})
GONE = 410
"""Stands for a request whose job the server does not know any more: it is submitted anew."""

K = TypeVar("K")
T = TypeVar("T")


class OpenAIBatchModel(OpenAIModel):
    """An endpoint that is asked through Batch jobs. All requests of a run are submitted before the first is awaited."""

    chunk_size = MOST_REQUESTS

    def __init__(self, endpoint: Endpoint, price: Price | None = None) -> None:
        super().__init__(endpoint, price)
        address = f"{endpoint.place} {endpoint.model}".encode()
        self._ledger = Ledger(cache_dir() / "batches" / hashlib.sha256(address).hexdigest()[:32])
        self._jobs = {job.file: job for job in self._ledger.jobs()}
        self._file_of = {key: job.file for job in self._jobs.values() for key in job.keys}
        self._awaited: dict[str, set[str]] = {}
        """Input file → keys that are wanted of its job and were not taken yet."""
        self._reserved: dict[str, float] = {}
        self._ids: list[str] = []

    def submit(self, requests: Sequence[Request]) -> None:
        """Put the requests that no job holds yet into jobs, and wait for none of them."""
        self.connect()
        self.loop.run(self._submit({self._key(request): request for request in requests}))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Yield (index, response) job by job as they end. A job that expired leaves errors for what it did not do."""
        self.connect()
        indices: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            indices.setdefault(self._key(request), []).append(index)
        waiting = {key: requests[found[0]] for key, found in indices.items()}
        for key, response in self.loop.stream(partial(self._answer_jobs, waiting)):
            first, *others = indices[key]
            yield first, response
            yield from ((index, replace(response, cost=None if response.cost is None else 0.0)) for index in others)
            # Only now: whoever asks for the next answer has this one on disk.
            self._take(key)

    def stream(self, requests: Iterator[tuple[K, Request]]) -> Iterator[tuple[K, Response]]:
        """The same for a stream: a job has so many requests that they may as well come in lists."""
        return in_chunks(self.generate, requests, self.chunk_size)

    def report(self) -> Mapping[str, Any]:
        """What happened so far, for the run record."""
        return {**super().report(), "batch_jobs": list(self._ids)}

    async def _answer_jobs(self, waiting: dict[str, Request], emit: Callable[[tuple[str, Response]], None]) -> None:
        while waiting:
            asked = self.dialect
            await self._submit(waiting)
            again: dict[str, Request] = {}
            for file in dict.fromkeys(self._file_of[key] for key in waiting):
                job = self._jobs[file]
                mine = {key: waiting[key] for key in job.keys if key in waiting}
                async for key, found in self._collect(job, mine):
                    if isinstance(found, Response):
                        emit((key, self._settled(key, mine[key], found)))
                    elif found.status == GONE or self.adopt(body_of(self.endpoint, asked, mine[key]), found):
                        self._settle(key, 0.0)
                        again[key] = mine[key]
                    else:
                        self._settle(key, 0.0)
                        emit((key, failed(found)))
                if not again.keys().isdisjoint(job.keys):
                    self._forget(job)
            waiting = again

    async def _submit(self, requests: Mapping[str, Request]) -> None:
        missing = {key: request for key, request in requests.items() if key not in self._file_of}
        for key in requests.keys() - missing.keys() - self._reserved.keys():
            # A job of an earlier process: it costs what it costs.
            self._reserved[key] = self.worst(requests[key])
            self.budget.take_over(self._reserved[key])
        worst = {key: self.worst(request) for key, request in missing.items()}
        if not self.budget.reserve(sum(worst.values())):
            raise self.too_dear()
        self._reserved |= worst
        try:
            await self.book()
            lines = ((key, self._line(key, request)) for key, request in missing.items())
            for keys, content in input_files(lines):
                reply = await self._ask(partial(self.wire.upload, "mibe.jsonl", content))
                await self._start(Job(reply["id"], None, keys))
        finally:
            for key in missing.keys() - self._file_of.keys():
                # In no job, so that nothing is charged for it.
                self._settle(key, 0.0)
        for key in requests:
            self._awaited.setdefault(self._file_of[key], set()).add(key)

    async def _start(self, job: Job) -> Job:
        """Create the job on the server, unless it is there already, and keep its id."""
        resumed = job.file in self._jobs
        attempts = 0

        async def create() -> Reply | Broken:
            nonlocal attempts
            attempts += 1
            if resumed or attempts > 1:
                # The attempt before may have come through although its answer did not.
                listed = await self.wire.get("/batches?limit=100")
                if not isinstance(listed, Reply) or listed.status != 200:
                    return listed
                known = _json(listed) or {}
                for batch in known.get("data") or ():
                    if batch.get("input_file_id") == job.file:
                        return Reply(200, {}, json.dumps(batch).encode())
            path = f"/v1{path_of(self.endpoint)}"
            return await self.wire.post(
                "/batches", {"input_file_id": job.file, "endpoint": path, "completion_window": "24h"}
            )

        if not resumed:
            self._hold(job)
        started = replace(job, id=str((await self._ask(create))["id"]))
        self._hold(started)
        self.news(f"Batch job {started.id}: {len(started.keys)} requests; the same command finds it again")
        return started

    async def _collect(self, job: Job, mine: Mapping[str, Request]) -> AsyncIterator[tuple[str, Response | Problem]]:
        """Wait for the job to end, and yield the answer or the problem of each of `mine`."""
        if job.id is None:
            job = await self._start(job)
        assert job.id is not None
        self._ids.append(job.id)
        batch = await self._ended(job.id)
        status = str(batch.get("status"))
        if status == "failed":
            self._forget(job)
            self._raise_failure(job.id, batch)
        missing = set(mine)
        for file in filter(None, (batch.get("output_file_id"), batch.get("error_file_id"))):
            content = await self._call(partial(self.wire.get, f"/files/{file}/content"), lambda reply: reply.content)
            for key, found in self._read_lines(content, mine):
                if key in missing:
                    missing.remove(key)
                    yield key, found
        lost = Problem(GONE if status == LOST else 0, f"Batch job {job.id} is {status} and has no answer for this")
        for key in sorted(missing):
            yield key, lost

    async def _ended(self, ident: str) -> Mapping[str, Any]:
        """The job's description once it is over; `status` is "lost" where the server knows no such job."""
        wait = min(FIRST_POLL, self.endpoint.poll_interval)
        told = ""
        while True:
            batch = await self._call(partial(self.wire.get, f"/batches/{ident}"), _job_state, accept=(404,))
            if batch.get("status") in OVER:
                return batch
            counts = batch.get("request_counts") or {}
            news = f"Batch job {ident}: {batch.get('status')}, {counts.get('completed', 0)} of {counts.get('total', 0)}"
            if news != told:
                self.news(news)
                told = news
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, self.endpoint.poll_interval)

    def _read_lines(self, content: bytes, mine: Mapping[str, Request]) -> Iterator[tuple[str, Response | Problem]]:
        for line in content.splitlines():
            try:
                entry = json.loads(line)
                key, error, reply = entry["custom_id"], entry.get("error"), entry.get("response") or {}
                status, body = int(reply.get("status_code") or 0), reply.get("body")
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
            if key not in mine:
                continue
            found = read_answer(self.endpoint, body, mine[key]) if status == 200 else None
            yield key, found or problem_in(status, error or body)

    def _raise_failure(self, ident: str, batch: Mapping[str, Any]) -> NoReturn:
        """Raise for a job that the server refused as a whole."""
        errors = (batch.get("errors") or {}).get("data") or [{}]
        problem = problem_in(400, errors[0])
        if (action := action_for(problem)) is Action.NO_MONEY:
            raise_if_shared(self.endpoint, problem, action)
        if "limit" in problem.code:
            raise LimitReached(
                f"{self.endpoint.place} takes no Batch job now: {problem.message}; run the same command again later"
            )
        raise ModelError(f"{self.endpoint.place} refused Batch job {ident}: {problem.message}")

    async def _ask(self, send: Callable[[], Awaitable[Reply | Broken]]) -> dict[str, Any]:
        """The JSON of an answer that must come."""
        return await self._call(send, _identified)

    async def _call(
        self,
        send: Callable[[], Awaitable[Reply | Broken]],
        read: Callable[[Reply], T | None],
        accept: Collection[int] = (),
    ) -> T:
        found = await self.caller.call(send, read, accept=accept)
        if isinstance(found, Problem):
            raise ModelError(f"{self.endpoint.place} refused a Batch job (status {found.status}): {found.message}")
        return found

    def _line(self, key: str, request: Request) -> bytes:
        url = f"/v1{path_of(self.endpoint)}"
        entry = {"custom_id": key, "method": "POST", "url": url, "body": body_of(self.endpoint, self.dialect, request)}
        return json.dumps(entry, ensure_ascii=False).encode() + b"\n"

    def _key(self, request: Request) -> str:
        """The same for the same request in every process, however the server wants to be asked."""
        content = json.dumps([self.identity, request.messages, asdict(request.sampling)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def _settled(self, key: str, request: Request, response: Response) -> Response:
        response = self.priced(request, response, self._reserved.get(key, 0.0))
        self._settle(key, response.cost or 0.0)
        return response

    def _settle(self, key: str, cost: float) -> None:
        self.budget.settle(self._reserved.pop(key, 0.0), cost)
        self.spent += cost

    def _hold(self, job: Job) -> None:
        self._ledger.write(job)
        self._jobs[job.file] = job
        self._file_of |= dict.fromkeys(job.keys, job.file)

    def _take(self, key: str) -> None:
        """Note that an answer is in the caller's hands; a job of which nothing more is awaited is forgotten."""
        file = self._file_of.get(key)
        awaited = self._awaited.get(file) if file is not None else None
        if file is None or awaited is None:
            return
        awaited.discard(key)
        if not awaited:
            self._forget(self._jobs[file])

    def _forget(self, job: Job) -> None:
        self._ledger.drop(job)
        del self._jobs[job.file]
        self._awaited.pop(job.file, None)
        for key in job.keys:
            self._file_of.pop(key, None)


def _job_state(reply: Reply) -> dict[str, Any] | None:
    return {"status": LOST} if reply.status == 404 else _json(reply)


def _json(reply: Reply) -> dict[str, Any] | None:
    try:
        content = json.loads(reply.content)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _identified(reply: Reply) -> dict[str, Any] | None:
    content = _json(reply)
    return content if content and isinstance(content.get("id"), str) else None

"""Sends until there is an answer, a problem that stays, or no time left: the one policy for every kind of call."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import TypeVar

from mibe.errors import LimitReached, ModelError
from mibe.models.openai.content import Reply
from mibe.models.openai.endpoint import Endpoint
from mibe.models.openai.format import Problem, problem_of
from mibe.models.openai.pace import Gate
from mibe.models.openai.policy import Action, action_for, backoff, exhausted, retry_after
from mibe.models.openai.transport import Broken

T = TypeVar("T")

FIRST_CONTACT = 4
"""Attempts to connect to a server that was never heard of."""

FEW = 3
"""Attempts at an answer that comes to nothing each time (`Action.FEW`)."""

GIVE_UP = 8
"""Requests in a row that failed to their deadline, with no answer in between: the server is gone."""


@dataclass(slots=True)
class Tally:
    """What happened on the wire."""

    requests: int = 0
    retries: int = 0
    failed: int = 0


async def _at_once() -> None:
    """Where nothing has to be waited for."""


class Caller:
    """The retry policy of one endpoint. `gate` is told what happened, and asked for silence where the server does."""

    def __init__(self, endpoint: Endpoint, gate: Gate) -> None:
        self.tally = Tally()
        self._endpoint = endpoint
        self._gate = gate
        self._random = random.Random()
        self._heard = False
        self._lost_in_a_row = 0

    async def call(
        self,
        send: Callable[[], Awaitable[Reply | Broken]],
        read: Callable[[Reply], T | Problem | None],
        *,
        accept: Collection[int] = (),
        uncertain: Callable[[], None] = lambda: None,
        ready: Callable[[], Awaitable[None]] = _at_once,
        patient: bool = False,
    ) -> T | Problem:
        """What `read` makes of a good reply, or the problem that this one request has.

        `send` makes one attempt. `read` gets replies of status 2xx and those in `accept`; a problem that it finds in
        one is treated as any other, and None from it means that the reply is not what it should be, which is tried
        again like any passing failure. `uncertain` is called after an attempt without an answer that the server may
        have charged for. `ready` waits before each attempt, until the user's rates permit it; the deadline's clock
        begins with the first attempt. An attempt is over after `timeout` seconds and at the deadline, however slowly a
        server goes on sending; one that is `patient`, for what is large, at the deadline alone.

        Raises `ModelError` for what all requests share (key, model, address, a server that is gone) and
        `LimitReached` where the account is empty or the server asks for a pause longer than the deadline.
        """
        deadline = inf
        problem = Problem(0, "")
        spent = 0
        for attempt in count():
            await ready()
            await self._gate.clear()
            begun = time.monotonic()
            deadline = min(deadline, begun + self._endpoint.deadline)
            if begun >= deadline:
                return self._lost(problem, attempt)
            reply = await _within(deadline - begun if patient else min(deadline - begun, self._endpoint.timeout), send)
            self.tally.requests += 1
            if isinstance(reply, Reply):
                self._heard = True
                self._heed(reply)
                found = read(reply) if 200 <= reply.status < 300 or reply.status in accept else None
                if found is not None and not isinstance(found, Problem):
                    self._gate.well()
                    self._lost_in_a_row = 0
                    return found
                problem = found or problem_of(reply)
                if reply.status < 300 and not 400 <= problem.status < 500:
                    uncertain()
                action = action_for(problem)
                asked = retry_after(reply.headers)
            else:
                if not (attempt and reply.late and time.monotonic() >= deadline):
                    # The deadline cuts an attempt short; what was wrong before says more.
                    problem = Problem(0, reply.reason, spent=reply.useless)
                action = Action.SLOW_DOWN if reply.late else action_for(problem)
                asked = None
                if reply.reached:
                    uncertain()
                elif not self._heard and attempt + 1 >= FIRST_CONTACT:
                    raise ModelError(
                        f"{self._endpoint.place} cannot be reached ({reply.reason}); is the server up, and base_url "
                        "right?"
                    )
            spent += action is Action.FEW
            if action not in (Action.RETRY, Action.SLOW_DOWN, Action.FEW) or spent == FEW:
                raise_if_shared(self._endpoint, problem, action)
                self._lost_in_a_row = 0
                return problem
            if action is Action.SLOW_DOWN:
                self._gate.overloaded(begun)
            wait = self._wait(attempt, asked)
            if time.monotonic() + wait > deadline:
                return self._lost(problem, attempt + 1)
            self.tally.retries += 1
            await asyncio.sleep(wait)
        raise AssertionError("the loop above has no end of its own")

    def _wait(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next attempt: what the server asked for and a little, or the backoff."""
        wait = backoff(attempt, self._endpoint.max_wait, self._random)
        if asked is None:
            return wait
        if asked > self._endpoint.deadline:
            raise LimitReached(
                f"{self._endpoint.place} asks for a pause of {asked:.0f} s, longer than deadline="
                f"{self._endpoint.deadline:.0f}; everything so far is kept, and the same command goes on later"
            )
        self._gate.pause(asked)
        return asked + min(wait, 0.1 * asked + 0.05)

    def _heed(self, reply: Reply) -> None:
        """Hold back where the headers say that nothing is left of an allowance."""
        if (seconds := exhausted(reply.headers)) is not None:
            self._gate.pause(min(seconds, self._endpoint.max_wait))

    def _lost(self, problem: Problem, attempts: int) -> Problem:
        self.tally.failed += 1
        self._lost_in_a_row += 1
        text = f"{problem.message} (given up after {attempts} attempts in {self._endpoint.deadline:.0f} s)"
        if self._lost_in_a_row >= GIVE_UP:
            raise ModelError(
                f"{self._endpoint.place} has left {GIVE_UP} requests in a row without an answer: {text}; everything "
                "so far is kept, and the same command goes on when the server is back",
                said=problem.message,
            )
        return Problem(problem.status, text, problem.code, problem.param)


async def _within(seconds: float, send: Callable[[], Awaitable[Reply | Broken]]) -> Reply | Broken:
    """One attempt, ended in truth: the HTTP library's own limit begins anew with every byte that a server sends."""
    try:
        async with asyncio.timeout(seconds):
            return await send()
    except TimeoutError:
        return Broken("no answer in time", reached=True, late=True)


def raise_if_shared(endpoint: Endpoint, problem: Problem, action: Action) -> None:
    """Raise for a problem that every request would have, with what to do about it."""
    place = endpoint.place
    if action is Action.NO_MONEY:
        raise LimitReached(
            f"the account at {place} has no credit or quota left; everything so far is kept: top it up and run the "
            "same command again"
        )
    if action is not Action.FATAL:
        return
    if problem.status == 401:
        # Without the server's words, which may repeat a part of the key.
        given = "does not accept the key in" if endpoint.key else "wants a key: put it into"
        raise ModelError(f"{place} {given} the environment variable {endpoint.key_name}")
    hint = {
        400: f"it knows no model {endpoint.model!r}",
        403: f"the key in {endpoint.key_name} has no right to use {endpoint.model}",
        404: f"it knows no model {endpoint.model!r}, or base_url is not right (most end in /v1)",
        422: f"it knows no model {endpoint.model!r}",
    }.get(problem.status, "base_url is not right, or the server is not an OpenAI-compatible one")
    raise ModelError(
        f"{place} answered with status {problem.status}: {hint}. It said: {problem.message}", said=problem.message
    )

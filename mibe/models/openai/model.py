"""A model behind the OpenAI API: many requests at once, each answered, refused or failed on its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, TypeVar

from mibe.errors import LimitReached, MibeError, ModelError, NoLikelihoods
from mibe.models.base import ChoiceRequest, Message, Request, Response
from mibe.models.budget import Budget
from mibe.models.event_loop import EventLoop
from mibe.models.keys import can_be_sent
from mibe.models.openai.answers import read_answer
from mibe.models.openai.caller import Caller
from mibe.models.openai.content import Reply
from mibe.models.openai.endpoint import Endpoint
from mibe.models.openai.format import Dialect, Problem, body_of, learn, path_of, refused_request
from mibe.models.openai.pace import Gate, Rate
from mibe.models.openai.policy import Action, action_for
from mibe.models.openai.transport import Broken, Transport
from mibe.models.pricing import Price, Usage
from mibe.models.reasoning import GIVEN, Reasoning
from mibe.models.text import byte_count, plain_text, roughly_tokens

READY = 64
"""Requests that lie ready at least, so that the server has work while the scores of a task are computed."""

CLOSING = 5.0
"""Seconds that connections get to close."""

K = TypeVar("K")


class OpenAIModel:
    """One endpoint as a `Model`. Everything asynchronous runs in a thread of its own.

    Servers know one limit: the thinking budget is room that reasoning and answer share, and nothing closes it.
    """

    def __init__(self, endpoint: Endpoint, price: Price | None = None) -> None:
        self.name = endpoint.model
        self.is_remote = not endpoint.is_ours
        self.if_ours = endpoint.if_ours
        self.is_chat = endpoint.api == "chat"
        self.context_window = endpoint.context_window
        known: Mapping[str, Any] = {
            "model": "openai",
            "name": endpoint.model,
            "endpoint": endpoint.place,
            "api": endpoint.api,
            "reasoning_effort": endpoint.reasoning_effort,
            **({} if endpoint.reasoning is None else {"reasoning": endpoint.reasoning.name}),
        }
        self.identity: Mapping[str, Any] | None = known
        self._given = endpoint, known
        self.can = endpoint.can
        self.price = price
        self.batch = endpoint.batch
        self.budget = Budget()
        self.news: Callable[[str], None] = _unheard
        self.endpoint = endpoint
        self.dialect = Dialect(endpoint.max_tokens_parameter)
        self._gate = Gate(endpoint.concurrency)
        self._request_rate = Rate(endpoint.requests_per_minute)
        self._token_rate = Rate(endpoint.tokens_per_minute)
        self.caller = Caller(endpoint, self._gate)
        self.spent = 0.0
        self._unseen = 0
        """The most tokens that a prompt had beyond our own: what the server's template adds."""
        self._last_answer = 0.0
        self.loop = EventLoop("mibe-openai")
        self._wire: Transport | None = None

    @property
    def reasoning(self) -> Reasoning | None:
        """How the model reasons, as its user says: a server does not tell before it answers."""
        if (form := self.endpoint.reasoning) is not None:
            return Reasoning(form.name, True, f"reasoning={form.name}")
        effort = self.endpoint.reasoning_effort
        return None if effort in (None, "none") else Reasoning(GIVEN, False, f"reasoning_effort={effort}")

    def use_template_args(self, args: Mapping[str, Any]) -> None:
        """Set switches of the server's chat template, and `reasoning_effort`, which has a parameter of its own.

        Nobody sees them in a prompt's text, so they are a part of what the model is known by.
        """
        given, known = self._given
        others = {name: value for name, value in args.items() if name != "reasoning_effort"}
        effort = args.get("reasoning_effort", given.reasoning_effort)
        self.endpoint = replace(given, reasoning_effort=effort, template_args=others)
        switches = {"chat_template_kwargs": others} if others else {}
        self.identity = {**known, "reasoning_effort": effort, **switches}

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt for people to read: turns under their roles. The server lays out what the model reads."""
        if not self.is_chat:
            return plain_text(messages)
        return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)

    def count_tokens(self, text: str) -> int:
        """An estimate from above for ordinary text: a token for every 3 bytes."""
        return roughly_tokens(text)

    def connect(self) -> None:
        """Raise `ModelError` where the environment has no key, or none that can be sent; our own servers need none."""
        if not can_be_sent(self.endpoint.key or ""):
            raise ModelError(
                f"the environment variable {self.endpoint.key_name} holds no key: there is a line break, a space or a "
                "character outside ASCII in it; set it to the key alone"
            )
        if self.endpoint.key is None and self.is_remote:
            raise ModelError(
                f"{self.endpoint.place} wants a key: put it into the environment variable {self.endpoint.key_name}"
            )

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Yield (index, response) as answers come in; raises as `stream` does."""
        return self.stream(enumerate(requests))

    def stream(self, requests: Iterator[tuple[K, Request]]) -> Iterator[tuple[K, Response]]:
        """Yield (key, response) as answers come in, with as many under way as the server bears and a few lying ready.

        Raises `LimitReached` before the budget is passed or when the account is empty, after everything that was under
        way; `ModelError` for what no request would survive.
        """
        self.connect()
        self._last_answer = time.perf_counter()
        return self.loop.pipe(requests, self._answer_all, ahead=max(READY, self.endpoint.concurrency))

    async def _answer_all(
        self, requests: AsyncIterator[tuple[K, Request]], emit: Callable[[tuple[K, Response]], None]
    ) -> None:
        stopped: list[LimitReached] = []
        failures: list[MibeError] = []

        async def one(key: K, request: Request, worst: float) -> None:
            try:
                emit((key, self._timed(await self._answer(request, worst))))
            except LimitReached as reason:
                stopped.append(reason)

        try:
            async with asyncio.TaskGroup() as group:
                async for key, request in requests:
                    await self._gate.enter()
                    worst = self.worst(request)
                    while not stopped and not self.budget.reserve(worst):
                        if self._gate.active > 1:
                            await self._gate.left()
                        elif await asyncio.to_thread(self.budget.reserve_anew, worst):
                            break
                        else:
                            stopped.append(self.too_dear())
                    if stopped:
                        self._gate.leave()
                        break
                    task = group.create_task(one(key, request, worst))
                    task.add_done_callback(lambda _: self._gate.leave())
        except* MibeError as errors:
            # Raised below: whatever is raised in here comes out as a group.
            failures += [found for found in errors.exceptions if isinstance(found, MibeError)]
        if failures:
            raise failures[0]
        if stopped:
            raise stopped[0]

    async def _answer(self, request: Request, worst: float) -> Response:
        """The response to one request, whatever the server makes of it; `worst` USD are reserved for it."""
        cost = 0.0
        try:
            while True:
                body = body_of(self.endpoint, self.dialect, request)
                found = await self.caller.call(
                    partial(self._attempt, body),
                    partial(read_response, self.endpoint, request),
                    uncertain=partial(self._charge, worst),
                    ready=partial(self._ready, request),
                )
                if isinstance(found, Response):
                    response = self.priced(request, found, worst)
                    cost = response.cost or 0.0
                    return response
                if not self.adopt(body, found):
                    return failed(found)
        except asyncio.CancelledError:
            cost = worst  # What was on its way may be charged.
            raise
        finally:
            self.budget.settle(worst, cost)
            self.spent += cost

    async def _ready(self, request: Request) -> None:
        await self._request_rate.take(1)
        await self._token_rate.take(_prompt_size(request) / 3 + request.sampling.room)
        await self.book()

    async def _attempt(self, body: Mapping[str, Any]) -> Reply | Broken:
        return await self.wire.post(path_of(self.endpoint), body)

    @property
    def wire(self) -> Transport:
        """The connections, made with the first request."""
        if self._wire is None:
            self._wire = Transport(self.endpoint)
        return self._wire

    def adopt(self, sent: Mapping[str, Any], problem: Problem) -> bool:
        """Whether the server only wants to be asked in another way, which is remembered.

        Raises `ModelError` where it does not know what the user asked for.
        """
        if (name := refused_request(sent, problem)) is not None:
            raise ModelError(
                f"{self.name} does not take {name}, which was asked for: {problem.message}; leave it out",
                said=problem.message,
            )
        learnt = learn(self.dialect, sent, problem)
        if learnt is None:
            return False
        if learnt != self.dialect:
            refused = ", ".join(learnt.refused - self.dialect.refused)
            self.news(f"{self.name} does not take the parameter {refused}, and is asked without it from now on")
            self.dialect = learnt
        return True

    def worst(self, request: Request) -> float:
        """The most USD that a request can cost: a token for each byte of the prompt, and every new token allowed."""
        if self.price is None:
            return 0.0
        most = Usage(prompt=_prompt_size(request) + self._unseen, completion=request.sampling.room)
        return self.price.of(most, batch=self.batch)

    async def book(self) -> None:
        """Wait until what is reserved is in the journal. Raises `LimitReached` where another shard was faster."""
        if not self.budget.is_booked and not await asyncio.to_thread(self.budget.book):
            raise self.too_dear()

    def priced(self, request: Request, response: Response, worst: float) -> Response:
        """The response with its cost: of the tokens that the server counted, or the most there can be.

        Counts that cannot be are none, and an answer longer than was allowed is no ground for a price.
        """
        usage = None
        if response.prompt_tokens is not None and response.new_tokens is not None:
            cached = response.cached_tokens or 0
            usage = Usage(prompt=response.prompt_tokens, completion=response.new_tokens, cached=cached)
            if not usage.is_possible(self.context_window):
                usage = None
                response = replace(
                    response, prompt_tokens=None, new_tokens=None, cached_tokens=None, reasoning_tokens=None
                )
        if self.price is None:
            return response
        if usage is None or usage.completion > request.sampling.room:
            return replace(response, cost=worst, cost_is_bound=True)
        self._unseen = max(self._unseen, usage.prompt - _prompt_size(request))
        return replace(response, cost=self.price.of(usage, batch=self.batch))

    def _charge(self, worst: float) -> None:
        """Book an attempt that came to nothing here and may be charged for all the same."""
        self.budget.charge(worst)
        self.spent += worst
        if self.budget.is_passed:
            raise self.too_dear()

    def too_dear(self) -> LimitReached:
        """What to say when the next request could pass the budget."""
        next_step = (
            "everything so far is kept: the same command with a higher --max-cost goes on from here"
            if self.budget.keeps
            else "nothing is kept: give a higher --max-cost, or a smaller --limit"
        )
        return LimitReached(
            f"--max-cost {self.budget.limit} USD would be passed by the next request to {self.name} at its worst "
            f"({self.budget}); {next_step}"
        )

    def _timed(self, response: Response) -> Response:
        """The response with the time since the one before it, so that the times of a run add up to its length."""
        now = time.perf_counter()
        seconds, self._last_answer = now - self._last_answer, now
        return replace(response, seconds=seconds)

    def loglikelihood(self, requests: Sequence[ChoiceRequest]) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Not possible: raises `NoLikelihoods`."""
        raise NoLikelihoods(f"{self.name} is behind an API that gives no likelihoods; score it by generation")

    def device_memory_peak(self) -> int | None:
        """None: nothing runs here."""
        return None

    def report(self) -> Mapping[str, Any]:
        """What happened so far, for the run record."""
        return {
            "endpoint": self.endpoint.place,
            "trusted_endpoint": self.endpoint.trusted,
            "length_parameter": self.dialect.limit,
            "refused_parameters": sorted(self.dialect.refused),
            **asdict(self.caller.tally),
            "overloads": self._gate.overloads,
            "concurrency": {"most": self._gate.most, "least": int(self._gate.narrowest)},
            "cost_usd": None if self.price is None else round(self.spent, 6),
            "price": None if self.price is None else asdict(self.price),
        }

    def close(self) -> None:
        """Close the connections and end the thread."""
        if self._wire is not None:
            self.loop.run(asyncio.wait_for(self._wire.close(), CLOSING))
            self._wire = None
        self.loop.close()


def read_response(endpoint: Endpoint, request: Request, reply: Reply) -> Response | Problem | None:
    """The response in a reply, or the problem that it tells of; None where it is neither."""
    try:
        found = read_answer(endpoint, reply.json(), request)
    except ValueError:
        return None
    if not isinstance(found, Response):
        return found
    return replace(found, latency=reply.seconds, first_token=reply.first_token)


def failed(problem: Problem) -> Response:
    """The response that stands for a request that was declined by a filter, or failed."""
    if action_for(problem) is Action.REFUSED:
        return Response(text=problem.message, finish_reason="filter")
    status = f"status {problem.status}: " if problem.status >= 300 else ""
    return Response(text="", finish_reason="error", error=f"{status}{problem.message}")


def _prompt_size(request: Request) -> int:
    """Bytes of the prompt, and 16 for what each turn adds."""
    return byte_count(request.text) + 16 * len(request.messages)


def _unheard(_: str) -> None:
    """Where news go that nobody asked for."""

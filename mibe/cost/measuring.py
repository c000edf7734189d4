"""A model measured: asked one prompt at a time and several at once, on documents that it has not seen before.

Each pass asks other documents: an engine keeps what it has read, and would answer the same ones faster the second time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from mibe.cost.figures import NO_PRICE, NOT_COUNTED, SERVED, Cost, Level, Memory
from mibe.cost.flops import flops
from mibe.data_use import check_egress, check_names, without_text_of_any
from mibe.errors import ModelError, UsageError
from mibe.meters import memory
from mibe.meters.energy import EnergyMeter
from mibe.models import as_model
from mibe.models.base import Model, Request, Response
from mibe.models.budget import Budget
from mibe.models.pricing import check_max_cost
from mibe.models.service import Service, open_services
from mibe.models.size import Size, size_of
from mibe.models.streaming import chunks
from mibe.results import environment
from mibe.results.record import percentiles, tokens_read
from mibe.run.asking import prepare
from mibe.run.opening import loading
from mibe.run.plan import Plan, plan_task
from mibe.run.responses import jobs
from mibe.run.settings import arguments_under
from mibe.run.settle import wanted
from mibe.terminal.news import say

PASSES = 4
"""Passes that there may be: one prompt at a time and several at once, each again for the first token alone where the
engine does not tell when it came."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A response, and the seconds from when its prompt was handed over until it was there."""

    response: Response
    seconds: float

    @property
    def first_token(self) -> float | None:
        """Seconds until the first token was there: all of them but those between it and the last."""
        latency, first = self.response.latency, self.response.first_token
        return None if latency is None or first is None else self.seconds - (latency - first)


@dataclass(frozen=True, slots=True)
class Pass:
    """Prompts handed over so many at once: what came of each, and the seconds and joules that all of them took."""

    at_once: int
    answered: tuple[Answered, ...]
    seconds: float
    joules: float | None
    why_no_energy: str


def measure(
    *,
    model: str | Model | Callable[[list[str]], list[str]],
    tasks: str | Iterable[str] | None,
    suite: str | None = None,
    model_args: Mapping[str, str] | None = None,
    limit: int = 16,
    batch: int = 8,
    max_cost: float | None = None,
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
    **settings: Any,
) -> Cost:
    """Load a model, ask it `limit` documents of each task one at a time and others `batch` at once; what it took.

    With fewer documents than `batch` all of them are asked at once; of more the last ones that fill no batch are not
    asked, for what they took would be of fewer at once.

    `settings` are those of `mibe.evaluate`; a model behind an API is asked for answers that grow (`stream=yes`), which
    tells when the first token came. Nothing is kept.

    Raises
    ------
    UsageError
        For numbers out of range, and tasks with too few documents.
    DataUseError
        Before the model is given any text, as `evaluate` does.
    ModelError
        When the model cannot be loaded, or a prompt failed: what it took would be of nothing.
    """
    if limit < 1 or batch < 1:
        raise UsageError("--limit and --batch are numbers of prompts, at least 1")
    check_max_cost(max_cost)
    check_names(allow_egress)
    named, chosen = wanted(tasks, suite, {**settings, "limit": PASSES * limit + 1})
    if chosen.scoring != "generate" or chosen.repeats > 1 or chosen.vary is not None:
        raise UsageError("the cost is that of text, one answer a document; leave out --scoring, --repeats and --vary")
    plans = [plan_task(task, chosen) for task in named]
    args = arguments_under(chosen.protocol, model, model_args)
    with loading() as took:
        llm = as_model(model, _streaming(model, args))
    # A model that was handed over belongs to its owner, who may want it afterwards.
    with closing(llm) if isinstance(model, str) else nullcontext():
        prepared = prepare(llm, chosen)
        plans = [plan.for_model(llm, prepared) for plan in plans]
        for plan in plans:
            check_egress(plan.task, llm, allow_egress, agreement)
        open_services([llm], say, Budget(max_cost, keeps=False))
        work = partial(_passes, llm, plans, limit, batch)
        passes, first = without_text_of_any([plan.task for plan in plans], llm.name, work)
        return _cost(llm, passes, first, took if isinstance(model, str) else {})


def _streaming(model: object, args: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """The arguments of a model, with answers that grow where it is behind an API and is not asked in Batch jobs."""
    given = dict(args or {})
    return {"stream": "yes", **given} if model == "openai" and "batch_api" not in given else args


def _passes(
    model: Model, plans: Sequence[Plan], limit: int, batch: int
) -> tuple[list[Pass], dict[int, Sequence[float]]]:
    """The passes, and by the number of prompts at once the seconds until the first token, where they are known."""
    waiting = [_requests(model, plan) for plan in plans]

    def some(count: int) -> list[Request]:
        taken = [list(islice(requests, count)) for requests in waiting]
        if short := next((plan.task for plan, found in zip(plans, taken, strict=True) if len(found) < count), None):
            raise UsageError(
                f"{short.name} has too few documents that fit the model's window for as many passes; give a smaller "
                "--limit, or other --tasks"
            )
        return [request for together in zip(*taken, strict=True) for request in together]

    # The first prompt pays for what is set up once: kernels, graphs, connections. It counts nowhere.
    ask(model, some(1), 1)
    passes: list[Pass] = []
    first: dict[int, Sequence[float]] = {}
    asked = limit * len(plans)
    for at_once in dict.fromkeys((1, min(batch, asked))):
        whole = asked - asked % at_once
        made = ask(model, some(limit)[:whole], at_once)
        passes.append(made)
        told = [seconds for each in made.answered if (seconds := each.first_token) is not None]
        if len(told) == len(made.answered):
            first[at_once] = told
        elif _stops_at_one_token(model, made):
            alone = ask(model, [_of_one_token(request) for request in some(limit)[:whole]], at_once)
            first[at_once] = [each.seconds for each in alone.answered]
    return passes, first


def _stops_at_one_token(model: Model, made: Pass) -> bool:
    """Whether a request for one token ends with the first: an engine does, a function writes what it likes."""
    counts = all(each.response.new_tokens is not None for each in made.answered)
    return counts and not isinstance(model, Service)


def _of_one_token(request: Request) -> Request:
    return replace(request, sampling=replace(request.sampling, max_new_tokens=1, thinking_budget=None, allowed=()))


def _requests(model: Model, plan: Plan) -> Iterator[Request]:
    """The prompts of a task as a run would ask them, without those that cannot be asked."""
    builder = plan.prompts(model)
    for example in plan.documents:
        for job in jobs(model, plan, builder, example, [0], cached=False):
            if job.rendered.problem is None:
                yield job.request


def ask(model: Model, requests: Sequence[Request], at_once: int) -> Pass:
    """Hand requests over so many at once, the next ones when all of these are answered.

    Raises `ModelError` where one of them failed.
    """
    answered: list[Answered] = []
    meter = EnergyMeter.start()
    begun = time.perf_counter()
    for chunk in chunks(requests, at_once):
        handed_over = time.perf_counter()
        for _, response in model.generate(chunk):
            answered.append(Answered(response, time.perf_counter() - handed_over))
    seconds = time.perf_counter() - begun
    energy = meter.stop()
    if failed := [each.response for each in answered if each.response.finish_reason == "error"]:
        raise ModelError(f"{model.name}: {len(failed)} of {len(answered)} prompts failed ({failed[0].error})")
    return Pass(at_once, tuple(answered), seconds, energy.total, energy.why)


def _cost(model: Model, passes: Sequence[Pass], first: Mapping[int, Sequence[float]], took: Mapping[str, Any]) -> Cost:
    size = size_of(model)
    responses = [each.response for made in passes for each in made.answered]
    counted = [response for response in responses if is_counted(response)]
    costs = [response.cost for response in counted if response.cost is not None and not response.cost_is_bound]
    is_priced = any(response.cost is not None for response in responses)
    unpriced = NOT_COUNTED if is_priced else NO_PRICE
    last = level_of(passes[-1], first)
    hardware = environment.hardware()
    machine = [f"{hardware['cpu']}, {hardware['cores']} cores", *hardware["accelerators"]]
    # What serves an API is another process, here or elsewhere: this one's figures are not the model's.
    is_served = model.is_remote or isinstance(model, Service)
    return Cost(
        name=model.name,
        machine=SERVED if is_served else ", ".join(machine),
        load_seconds=None if is_served else took.get("seconds"),
        memory=Memory() if is_served else _memory(model, took),
        weights=None if size is None else size.bytes,
        levels=tuple(level_of(made, first) for made in passes),
        documents=len(responses),
        counted=len(counted),
        priced=len(costs),
        prompt_tokens=_mean([response.prompt_tokens or 0 for response in counted]),
        new_tokens=_mean([response.new_tokens or 0 for response in counted]),
        flops=None if size is None else _mean([_flops(size, response) for response in counted]),
        joules=None if is_served else last.joules,
        usd=_mean(costs),
        price=model.price if isinstance(model, Service) else None,
        why={
            "load": SERVED if is_served else "the model was handed over",
            "memory": SERVED if is_served else "the system does not say",
            "first token": "a text comes whole, and nothing tells when it began",
            "flops": "the size of the model is not known" if size is None else "the tokens are not counted",
            "energy": SERVED if is_served else passes[-1].why_no_energy,
            "usd": unpriced,
        },
    )


def _memory(model: Model, took: Mapping[str, Any]) -> Memory:
    return Memory(
        process_peak=memory.process_peak(),
        before=took.get("before_bytes"),
        children_peak=memory.children_peak(),
        device_peak=model.device_memory_peak(),
        devices=tuple(memory.devices()),
    )


def level_of(made: Pass, first: Mapping[int, Sequence[float]]) -> Level:
    """The figures of one pass; `first` is number of prompts at once → seconds until each one's first token."""
    count = len(made.answered)
    latency = percentiles([each.seconds for each in made.answered])
    token = percentiles(first[made.at_once]) if made.at_once in first else {"p50": None, "p95": None}
    responses = [each.response for each in made.answered]
    are_counted = all(map(is_counted, responses))
    return Level(
        at_once=made.at_once,
        documents=count,
        latencies=count,
        first_tokens=len(first.get(made.at_once, ())),
        seconds=made.seconds / count,
        latency_p50=latency["p50"],
        latency_p95=latency["p95"],
        first_token_p50=token["p50"],
        first_token_p95=token["p95"],
        read_per_second=sum(r.prompt_tokens or 0 for r in responses) / made.seconds if are_counted else None,
        written_per_second=sum(r.new_tokens or 0 for r in responses) / made.seconds if are_counted else None,
        joules=None if made.joules is None else made.joules / count,
    )


def is_counted(response: Response) -> bool:
    """Whether its tokens are known; no prompt is empty."""
    return bool(response.prompt_tokens) and response.new_tokens is not None


def _flops(size: Size, response: Response) -> float:
    new = response.new_tokens or 0
    read = tokens_read(response.prompt_tokens or 0, new)
    return flops(size, positions=read, attended=read * (read + 1) // 2, new_tokens=new)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None

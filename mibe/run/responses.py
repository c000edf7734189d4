"""From a document to the request that is made of it, and from the answer to its line in the sample log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mibe.errors import ModelError
from mibe.models.base import ChoiceRequest, Model, Request, Response, Sampling
from mibe.models.ranks import Ranks
from mibe.prompting import Rendered, stop_strings
from mibe.results.cache import as_kept, cache_key
from mibe.results.digests import Digests, digest
from mibe.results.log import Row
from mibe.results.record import SPANS
from mibe.run.likelihood import continuations, judge_likelihoods
from mibe.run.plan import Plan, Prompts
from mibe.run.reading import judge_response
from mibe.task import Example
from mibe.variation import draw_of_shots

METERED = ("cached_tokens", "reasoning_tokens", "cost")
"""Fields of a response that models behind an API fill."""

DIGITS = 6
"""Decimals of a second that a row keeps of a latency."""


@dataclass(frozen=True, slots=True)
class Job:
    """One draw of one document that a response is wanted for.

    `shots` are the ids of its worked examples where they are its own; `key` is the response cache's, None where nothing
    is cached.
    """

    example: Example
    draw: int
    rendered: Rendered
    shots: tuple[str, ...] | None
    sampling: Sampling
    key: bytes | None

    @property
    def request(self) -> Request:
        """What a model is asked for a text."""
        return Request(self.rendered.messages, self.rendered.text, self.sampling)


def wanted(plan: Plan, done: Digests, ranks: Ranks) -> Iterator[tuple[Example, list[int]]]:
    """The documents of this process that something is wanted of, each with the numbers of the draws."""
    repeats = plan.settings.repeats
    # All draws of a document go to one process, which reads its prompt once.
    left = -(-(plan.documents.count * repeats - len(done)) // repeats)
    position = 0
    for example in plan.documents:
        draws = [draw for draw in range(repeats) if not done or digest(example.id, draw) not in done]
        if draws:
            if ranks.has(position, left):
                yield example, draws
            position += 1


def jobs(
    model: Model, plan: Plan, builder: Prompts, example: Example, draws: Sequence[int], *, cached: bool
) -> Iterator[Job]:
    """The draws of one document, side by side: their prompt is built once, and may be read once."""
    rendered = builder.build(example)
    # Shots that all documents share are listed once, in the run record.
    own_shots = plan.shots is not None and (plan.shots.per_document or draw_of_shots(example) > 0)
    shots = tuple(shot.id for shot in builder.shots_for(example)) if own_shots else None
    common = _sampling(model, plan, example)
    for draw in draws:
        sampling = for_draw(common, example.id, draw)
        key = _key(model, plan, example, rendered, sampling) if cached and rendered.problem is None else None
        yield Job(example, draw, rendered, shots, sampling, key)


def choices(model: Model, plan: Plan, job: Job) -> ChoiceRequest:
    """What a model is asked for likelihoods."""
    # After a chat template's generation prompt the answer stands alone; after a cue it follows a space.
    space = "" if model.is_chat else " "
    return ChoiceRequest(job.rendered.text, tuple(space + text for text in _scored(plan, job.example)))


def _scored(plan: Plan, example: Example) -> tuple[str, ...]:
    return continuations(plan.task_of(example), example, option_texts=plan.settings.option_texts)


def for_draw(sampling: Sampling, ident: str, draw: int) -> Sampling:
    """The sampling of one draw of one document: with a seed of its own, the same in every process.

    Greedy draws are the same whatever their seed, and keep the common one: an engine may run only what is sampled alike
    in one batch. The seed has 31 bits, which every engine takes.
    """
    if sampling.temperature == 0:
        return sampling
    content = f"{sampling.seed}/{draw}/{ident}".encode("utf-8", "surrogatepass")
    return replace(sampling, seed=int.from_bytes(hashlib.sha256(content).digest()[:4], "big") >> 1)


def _sampling(model: Model, plan: Plan, example: Example) -> Sampling:
    return Sampling(
        max_new_tokens=plan.max_new_tokens,
        stop=stop_strings(plan.task_of(example).prompt, chat=model.is_chat),
        seed=plan.settings.seed,
        allowed=plan.task.answers(example) if plan.settings.constrain else (),
        thinking_budget=plan.thinking_budget,
        at_budget=plan.settings.at_budget,
        **plan.settings.decoding(),
    )


def _key(model: Model, plan: Plan, example: Example, rendered: Rendered, sampling: Sampling) -> bytes:
    if model.identity is None:
        raise ModelError(f"{model.name} has no identity, so its responses cannot be cached")
    asked = list(_scored(plan, example)) if plan.settings.scoring == "loglikelihood" else sampling.in_key()
    return cache_key(model.identity, rendered.text, asked)


def stored(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as the cache keeps it; `revived` is the inverse."""
    return {**answer, "response": as_kept(answer["response"])}


def revived(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An answer from the cache."""
    return {**entry, "response": Response(**entry["response"])}


def row_of(plan: Plan, job: Job, response: Response, loglikelihoods: Sequence[float] | None = None) -> Row:
    """One line of the sample log."""
    row: Row = {
        "id": job.example.id,
        **({"draw": job.draw} if plan.settings.repeats > 1 else {}),
        "prompt_sha256": job.rendered.sha256,
        "output": response.text,
        "finish_reason": response.finish_reason,
        "error": response.error,
    }
    if job.shots is not None:
        row["shots"] = list(job.shots)
    if loglikelihoods is None:
        row |= {"answer_at": response.answer_at, **({"budget_cut": True} if response.budget_cut else {})}
        row |= judge_response(plan.task_of(job.example), job.example, response)
    else:
        row |= judge_likelihoods(plan.task_of(job.example), job.example, loglikelihoods)
    return row | {
        "cut": job.rendered.cut,
        "prompt_tokens": response.prompt_tokens,
        "new_tokens": response.new_tokens,
        "seconds": response.seconds,
        **{name: round(value, DIGITS) for name in SPANS if (value := getattr(response, name)) is not None},
        "cached": False,
        **{name: value for name in METERED if (value := getattr(response, name)) is not None},
        **({"cost_is_bound": True} if response.cost_is_bound else {}),
    }


def answer_of(row: Row) -> dict[str, Any]:
    """The answer that a line of the sample log was made of."""
    metered = {name: row[name] for name in METERED if name in row}
    response = Response(
        text=row["output"],
        finish_reason=row["finish_reason"],
        prompt_tokens=row.get("prompt_tokens"),
        new_tokens=row.get("new_tokens"),
        seconds=row.get("seconds"),
        answer_at=row.get("answer_at", 0),
        budget_cut=row.get("budget_cut", False),
        **metered,
    )
    if "loglikelihoods" not in row:
        return {"response": response}
    return {"response": response, "loglikelihoods": [*row["loglikelihoods"], *row.get("option_loglikelihoods", ())]}

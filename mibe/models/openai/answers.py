"""A server's JSON of status 200: an answer, or what stands in the place of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mibe.models.base import Request, Response
from mibe.models.finish import finish_of, not_an_end
from mibe.models.openai.endpoint import Endpoint
from mibe.models.openai.format import Problem, problem_in, response_of

FILTERED = "content_filter"
"""The code of a prompt that a filter declined, as OpenAI and Azure spell it."""

_BLOCKED = ("blockReason", "block_reason")
"""Where Google's gateways say that a prompt was declined."""


def read_answer(endpoint: Endpoint, body: Any, request: Request) -> Response | Problem | None:
    """The response in a body of status 200, the problem that it tells of, or None where it is neither.

    Three things are no answer though the status says so: an error in the body, no choice at all, and a choice that
    ended for a reason that is no end (`mibe.models.finish`).
    """
    if not isinstance(body, Mapping):
        return None
    choices = body.get("choices")
    if not choices:
        return _without_choices(body)
    choice = _first(choices)
    if choice is None:
        return None
    reason = choice.get("finish_reason")
    if reason and finish_of(str(reason)) is None:
        said = choice.get("error") or body.get("error")
        words = f": {problem_in(200, said).message}" if said else ""
        return Problem(200, f"{not_an_end(str(reason))}{words}", spent=True)
    if reason and not choice.get("message") and "text" not in choice:
        # A filter, or reasoning up to the limit, left nothing to put into a message.
        choice = {**choice, "message": {}}
    return response_of(endpoint, {**body, "choices": [choice]}, request)


def _first(choices: Any) -> Mapping[str, Any] | None:
    """The choice of the lowest index, wherever it stands: one is asked for."""
    found = [choice for choice in choices if isinstance(choice, Mapping)] if isinstance(choices, list) else []
    return min(found, key=_index, default=None)


def _index(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _without_choices(body: Mapping[str, Any]) -> Problem | None:
    if body.get("error"):
        return problem_in(200, body)
    if any(_declined(body)):
        return Problem(200, "the server's content filter declined the prompt", FILTERED)
    if "choices" in body and ("usage" in body or "id" in body):
        return Problem(200, "the server answered without a choice", spent=True)
    return None


def _declined(value: Any) -> Iterator[bool]:
    """Whether a filter's report, wherever it stands in the body, says that it declined: Azure's form or Google's."""
    if isinstance(value, Mapping):
        yield value.get("filtered") is True or any(value.get(name) for name in _BLOCKED)
        for inner in value.values():
            yield from _declined(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _declined(inner)

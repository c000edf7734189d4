"""A model without a model, for tests and for measuring everything around one: deterministic, standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from mibe.errors import UsageError
from mibe.models.arguments import convert, whole
from mibe.models.base import ChoiceRequest, FinishReason, Message, Model, Request, Response
from mibe.models.reasoning import tell_apart, was_cut
from mibe.models.text import byte_count, plain_text

MODES = ("first", "echo", "random")
DEFAULT_ANSWER = "This text came from a stand-in that reads nothing."

_OPTION = re.compile(r"^\(?([A-J])[.):] ", re.MULTILINE)
_WORD = re.compile(r"\s*\S+")


def load(args: Mapping[str, str]) -> Model:
    """The stand-in model.

    Arguments: `answer`, a fixed text; or `mode`: "first" answers the first option letter of the prompt, "random" one
    of its letters by hash and `seed`, "echo" the prompt itself.
    """
    values = convert("dummy", args, {"answer": str, "mode": _mode, "seed": whole})
    if "answer" in values and "mode" in values:
        raise UsageError("the model 'dummy' takes answer= or mode=, not both")
    return DummyModel(**values)


def _mode(text: str) -> str:
    if text not in MODES:
        raise ValueError(f"must be one of {', '.join(MODES)}")
    return text


class DummyModel:
    """Answers by rule. Likelihoods are pseudo-random numbers that depend on nothing but text and seed."""

    name = "dummy"
    is_remote = False
    is_chat = False
    context_window: int | None = None
    can: frozenset[str] = frozenset()

    def __init__(self, *, answer: str = DEFAULT_ANSWER, mode: str | None = None, seed: int = 0) -> None:
        self.identity: Mapping[str, Any] | None = {"model": "dummy", "answer": answer, "mode": mode, "seed": seed}
        self._answer = answer
        self._mode = mode
        self._seed = seed

    def render(self, messages: Sequence[Message]) -> str:
        """The plain text of the messages."""
        return plain_text(messages)

    def count_tokens(self, text: str) -> int:
        """An upper bound: the number of bytes."""
        return byte_count(text)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Yield (index, response) in order. A token is a word here."""
        for index, request in enumerate(requests):
            yield index, limited(self._reply(request.text), request)

    def _reply(self, prompt: str) -> str:
        if self._mode is None:
            return self._answer
        if self._mode == "echo":
            return prompt
        letters: list[str] = sorted(set(_OPTION.findall(prompt))) or ["A", "B", "C", "D"]
        return letters[0 if self._mode == "first" else self._hash(prompt) % len(letters)]

    def loglikelihood(self, requests: Sequence[ChoiceRequest]) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Yield (index, numbers between -10 and 0), in order."""
        for index, request in enumerate(requests):
            yield index, tuple(-10 * self._hash(request.text, text) / 2**64 for text in request.continuations)

    def _hash(self, *texts: str) -> int:
        data = "\0".join((str(self._seed), *texts)).encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")

    def device_memory_peak(self) -> int | None:
        """None: no accelerator is used."""
        return None

    def close(self) -> None:
        """Nothing to free."""


def limited(reply: str, request: Request) -> Response:
    """The reply as a response: cut at the first stop string of its answer and at the limit, counted in words."""
    sampling = request.sampling
    text, _ = tell_apart(reply, None, sampling.stop)
    words = [match.end() for match in _WORD.finditer(text)]
    cut = len(words) > sampling.room
    text, answer_at = tell_apart(text[: words[sampling.room - 1]] if cut else text, None)
    finish_reason: FinishReason = "length" if cut else "stop"
    return Response(
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=sum(1 for _ in _WORD.finditer(request.text)),
        new_tokens=min(len(words), sampling.room),
        seconds=0.0,
        answer_at=answer_at,
        budget_cut=was_cut(finish_reason, answer_at),
    )

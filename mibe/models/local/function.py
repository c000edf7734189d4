"""Any function from a list of prompts to a list of answers, as a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mibe.errors import ModelError, NoLikelihoods, UsageError
from mibe.models.base import ChoiceRequest, Message, Request, Response
from mibe.models.reasoning import tell_apart
from mibe.models.text import byte_count, plain_text
from mibe.parsers.reasoning import opened_by

BATCH = 64
"""Prompts handed to the function at once."""


class FunctionModel:
    """A function `list[str] -> list[str]` as a `Model`.

    The function gets plain text, at most 64 prompts at once, and returns one text for each, in their order. The
    limits of a request are the function's own affair, but for stop strings, at which its answers are cut.

    Nothing is known about a function but what its user says: under a `name`, and the `version` that goes up whenever
    it would answer otherwise, its answers are kept and a run of it goes on where it stopped. Without a name nothing is.
    Raises `UsageError` for a name that is empty, and for a version of no name.
    """

    is_remote = False
    is_chat = False
    context_window: int | None = None
    can: frozenset[str] = frozenset()
    """How its text is made is the function's own affair."""

    def __init__(
        self, function: Callable[[list[str]], list[str]], name: str | None = None, version: str | int | None = None
    ) -> None:
        if name is None and version is not None:
            raise UsageError(
                f"version={version!r} goes with a name; give name=… too, and the answers are kept under both"
            )
        if name is not None and not (isinstance(name, str) and name.strip()):
            raise UsageError("the name of a function is a text that says something, for its answers are kept under it")
        self.name = str(getattr(function, "__name__", type(function).__name__)) if name is None else name
        said = None if version is None else str(version)
        self.identity: Mapping[str, Any] | None = (
            None if name is None else {"model": "function", "name": name, "version": said}
        )
        self._function = function

    def render(self, messages: Sequence[Message]) -> str:
        """The plain text of the messages."""
        return plain_text(messages)

    def count_tokens(self, text: str) -> int:
        """An upper bound: the number of bytes."""
        return byte_count(text)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
        """Yield (index, response) batch by batch.

        An exception of the function is an error response for each prompt of its batch. Answers that are not as many
        as the prompts, or not text, raise `ModelError`: the function is not what was promised.
        """
        for first in range(0, len(requests), BATCH):
            batch = list(enumerate(requests[first : first + BATCH], first))
            start = time.perf_counter()
            try:
                answers: object = self._function([request.text for _, request in batch])
            except Exception as error:  # noqa: BLE001  (the user's code may raise whatever it likes)
                reason = f"{type(error).__name__}: {error}"
                yield from ((index, Response(text="", finish_reason="error", error=reason)) for index, _ in batch)
                continue
            latency = time.perf_counter() - start
            seconds = latency / len(batch)
            for (index, request), text in zip(batch, self._checked(answers, len(batch)), strict=True):
                text, answer_at = tell_apart(text, opened_by(request.text), request.sampling.stop)
                yield (
                    index,
                    Response(text=text, finish_reason="stop", seconds=seconds, answer_at=answer_at, latency=latency),
                )

    def _checked(self, answers: object, count: int) -> list[str]:
        if not isinstance(answers, list | tuple):
            raise ModelError(f"{self.name} must return a list of {count} texts, and returned {type(answers).__name__}")
        if len(answers) != count:
            raise ModelError(f"{self.name} was given {count} prompts and returned {len(answers)} answers")
        for answer in answers:
            if not isinstance(answer, str):
                raise ModelError(f"{self.name} must return texts, and returned {type(answer).__name__} among them")
        return list(answers)

    def loglikelihood(self, requests: Sequence[ChoiceRequest]) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Not possible: raises `NoLikelihoods`."""
        raise NoLikelihoods(f"{self.name} is a function of prompts and gives no likelihoods; score it by generation")

    def device_memory_peak(self) -> int | None:
        """None: nothing is known about the function."""
        return None

    def close(self) -> None:
        """Nothing to free."""

"""One stream of requests through any model: those that keep a window under way, and those that want lists."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar, runtime_checkable

from mibe.models.base import ChoiceRequest, Model, Request, Response

K = TypeVar("K")
R = TypeVar("R")
A = TypeVar("A")

CHUNK = 1024
"""Requests that a model without a stream of its own gets at once: enough to sort by length and to find common heads,
few enough for flat memory. A model whose engine does better with more says so by an attribute `chunk_size`."""


@runtime_checkable
class Streaming(Protocol):
    """A model that takes requests one by one, as it has room for them."""

    def stream(self, requests: Iterator[tuple[K, Request]]) -> Iterator[tuple[K, Response]]:
        """Yield (the request's key, response) as responses are ready, in any order, each key once.

        The next request is asked for, in the consumer's thread, only when there is room for it: whoever builds requests
        lazily holds few of them. What holds of `Model.generate` holds here.
        """
        ...


def responses(model: Model, requests: Iterator[tuple[K, Request]]) -> Iterator[tuple[K, Response]]:
    """Yield (key, response) for each (key, request): by the model's own stream, or chunk by chunk."""
    if isinstance(model, Streaming):
        return model.stream(requests)
    return in_chunks(model.generate, requests, chunk_size(model))


def likelihoods(
    model: Model, requests: Iterator[tuple[K, ChoiceRequest]]
) -> Iterator[tuple[K, tuple[tuple[float, ...], float]]]:
    """Yield (key, (natural-log likelihood of each continuation, seconds)) for each (key, request), chunk by chunk.

    The seconds are those since the answer before, or since the model got the chunk.
    """

    def timed(chunk: Sequence[ChoiceRequest]) -> Iterator[tuple[int, tuple[tuple[float, ...], float]]]:
        before = time.perf_counter()
        for index, values in model.loglikelihood(chunk):
            now = time.perf_counter()
            yield index, (values, now - before)
            before = now

    return in_chunks(timed, requests, chunk_size(model))


def in_chunks(
    answer: Callable[[Sequence[R]], Iterator[tuple[int, A]]], requests: Iterator[tuple[K, R]], size: int
) -> Iterator[tuple[K, A]]:
    """A stream over a function that wants lists and yields (index, answer): `size` requests at once."""
    for chunk in chunks(requests, size):
        for index, answered in answer([request for _, request in chunk]):
            yield chunk[index][0], answered


def chunks(items: Iterable[R], size: int) -> Iterator[list[R]]:
    """The items in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def chunk_size(model: Model) -> int:
    """How many requests a model wants at once."""
    size: int = getattr(model, "chunk_size", CHUNK)
    return size

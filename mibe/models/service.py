"""What a model behind an API has beyond `Model`: it needs a key, costs money, and has something to tell afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from mibe.errors import UsageError
from mibe.models.base import Model, Request
from mibe.models.budget import Budget
from mibe.models.pricing import Price


@runtime_checkable
class Service(Protocol):
    """A model whose use is metered.

    Attributes
    ----------
    name:
        The model's, for the record.
    price:
        What its tokens cost, or None where no price file knows.
    batch:
        Whether requests go into Batch jobs, with their own price.
    budget:
        What may be spent; models that are paid from one purse share it.
    news:
        Gets lines that a user who waits wants to read.
    """

    name: str
    price: Price | None
    batch: bool
    budget: Budget
    news: Callable[[str], None]

    def connect(self) -> None:
        """Raise `ModelError` for what can be known to be missing before anything is sent: the key."""
        ...

    def report(self) -> Mapping[str, Any]:
        """What happened so far, for the run record: requests, retries, cost, how the server wanted to be asked."""
        ...


@runtime_checkable
class Batching(Protocol):
    """A model that takes all requests of a run before it answers the first."""

    chunk_size: int

    def submit(self, requests: Sequence[Request]) -> None:
        """Hand requests in without waiting; `generate` will be asked for each of them later."""
        ...


def open_services(models: Sequence[Model], news: Callable[[str], None], budget: Budget) -> list[Service]:
    """Those of the models that are services, ready, with one purse.

    Raises `UsageError` where a limit is set and a price is not known: it could not be kept.
    """
    services: list[Service] = [model for model in models if isinstance(model, Service)]
    if budget.limit is not None:
        if not services:
            raise UsageError("--max-cost is for models behind an API, and this one costs nothing; leave it out")
        for model in models:
            if isinstance(model, Service) and model.price is None:
                raise UsageError(
                    f"--max-cost cannot be kept: no price is known for {model.name}; put it into a price file "
                    "(--model-args prices=PATH, see docs/api-models.md), or leave --max-cost out"
                )
    for service in services:
        service.connect()
        service.news = news
        service.budget = budget
    return services

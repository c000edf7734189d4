"""What a model is asked so that it shows what it has learned by heart; each answer is kept in the response cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from mibe.errors import ModelError
from mibe.metrics.memorisation import min_k_plus_plus
from mibe.models.base import NO_NUMBERS, ChoiceRequest, Message, Model, ReadsTokens, Request, Sampling
from mibe.models.reasoning import room_to_think
from mibe.models.streaming import chunks, likelihoods, responses
from mibe.results.cache import ResponseCache, cache_key

INSTRUCTION = (
    "The text below is the first half of an examination question. Write how it goes on, word for word, as it stands in "
    "the examination. Write nothing else.\n\n"
)
"""Said to a remote chat model, which would otherwise answer the question; others go on with the text as it stands."""

NEW_TOKENS = 128
"""Room for the words that are compared."""

LOOKUP = 256
"""Texts that are looked up in the cache at once."""

Answered: TypeAlias = Iterator[tuple[int, Any]]
"""(index, answer as JSON data), in any order."""


class Asking:
    """A model, and what it has answered before."""

    def __init__(self, model: Model, cache: ResponseCache | None) -> None:
        self.model = model
        self._cache = cache if model.identity is not None else None

    def scores(self, texts: Sequence[str]) -> list[float]:
        """Min-K%++ of each text. The model must be one that reads tokens (`ReadsTokens`)."""
        model = self.model
        assert isinstance(model, ReadsTokens)

        def ask(some: Sequence[str]) -> Answered:
            for index, found in model.read_tokens(some):
                if not found.log_probs:
                    raise ModelError(f"{model.name}: a text of one token has no score")
                yield index, self._finite([min_k_plus_plus(found.log_probs, found.means, found.deviations)])[0]

        return self._answers("min_k_plus_plus", texts, texts, ask)

    def likelihoods(self, questions: Sequence[tuple[str, tuple[str, ...]]]) -> list[list[float]]:
        """Natural-log likelihood of each continuation of each text. Raises `ModelError` where the model has none."""

        def ask(some: Sequence[tuple[str, tuple[str, ...]]]) -> Answered:
            requests = (ChoiceRequest(text, continuations) for text, continuations in some)
            for index, (values, _) in likelihoods(self.model, enumerate(requests)):
                yield index, self._finite(values)

        return self._answers("likelihoods", questions, questions, ask)

    def completions(self, beginnings: Sequence[str]) -> list[str]:
        """How the model goes on after each beginning, greedily; nothing where a filter declines.

        Raises `ModelError` where it fails at one.
        """
        requests = [self._request(beginning) for beginning in beginnings]

        def ask(some: Sequence[Request]) -> Answered:
            for index, response in responses(self.model, enumerate(some)):
                if response.finish_reason == "error":
                    raise ModelError(f"{self.model.name}: {response.error}; the same command goes on where it stopped")
                yield index, "" if response.finish_reason == "filter" else response.answer

        return self._answers("completion", [[r.text, r.sampling.in_key()] for r in requests], requests, ask)

    def _request(self, beginning: str) -> Request:
        model = self.model
        is_asked = model.is_chat and model.is_remote
        messages = (Message(role="user", content=INSTRUCTION + beginning if is_asked else beginning),)
        sampling = Sampling(max_new_tokens=NEW_TOKENS, thinking_budget=room_to_think(model, None, NEW_TOKENS))
        return Request(messages, model.render(messages) if is_asked else beginning, sampling)

    def _finite(self, values: Sequence[float]) -> list[float]:
        if not all(map(math.isfinite, values)):
            raise ModelError(f"{self.model.name}: its log-likelihoods are {NO_NUMBERS}")
        return list(values)

    def _answers(
        self, what: str, keys: Sequence[Any], items: Sequence[Any], ask: Callable[[Sequence[Any]], Answered]
    ) -> list[Any]:
        """The answer to each item, from the cache or asked for and put there as soon as it comes."""
        found: dict[int, Any] = {}
        for places in chunks(range(len(items)), LOOKUP):
            known = self._known({place: keys[place] for place in places}, what)
            kept = {} if self._cache is None else self._cache.get(list(known.values()))
            found |= {place: kept[key]["answer"] for place, key in known.items() if key in kept}
            left = [place for place in places if place not in found]
            for index, answer in ask([items[place] for place in left]):
                found[left[index]] = answer
                if self._cache is not None:
                    self._cache.put({known[left[index]]: {"answer": answer}})
        return [found[place] for place in range(len(items))]

    def _known(self, keys: Mapping[int, Any], what: str) -> dict[int, bytes]:
        """Place → key in the cache; none for a model without an identity."""
        identity = self.model.identity
        if identity is None:
            return {}
        return {place: cache_key(identity, f"memorisation: {what}", key) for place, key in keys.items()}

"""What prompts have in common at their beginning is read by the model once: worked examples, a question's options."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

SHORTEST = 32
"""Tokens below which reading something once saves no time."""

Tokens = Sequence[int]


class SharedPrefix:
    """Keys and values for the common beginning of prompts.

    `begin` names the beginning of all prompts to come, which is kept; `expand` gives the cache for one batch, whose
    own common beginning may be longer.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._usable = can_share(model)
        self._trunk: list[int] = []
        self._cache: DynamicCache | None = None

    def begin(self, prompts: Sequence[Tokens]) -> None:
        """Keep the common beginning of `prompts` from now on; its keys and values are computed when first needed."""
        length = common_length(prompts) if self._usable and len(prompts) > 1 else 0
        trunk = list(prompts[0][:length]) if length >= SHORTEST else []
        if trunk != self._trunk:
            self._trunk, self._cache = trunk, None

    def expand(self, batch: Sequence[Tokens], at_most: int) -> tuple[int, DynamicCache | None]:
        """(tokens shared, cache with a row for each prompt of `batch`), or (0, None) where sharing does not pay.

        At least the last token of each prompt and all after the first `at_most` are left to the caller.
        """
        if not self._usable:
            return 0, None
        common = min(common_length(batch), at_most, *(len(prompt) - 1 for prompt in batch))
        trunk = min(len(self._trunk), common)
        extended = len(batch) > 1 and common - trunk >= SHORTEST
        if not extended and trunk < SHORTEST:
            return 0, None
        cache = self._kept(trunk)
        if extended:
            cache = self._read(batch[0][trunk:common], cache)
        cache.batch_repeat_interleave(len(batch))
        return (common if extended else trunk), cache

    def _kept(self, length: int) -> DynamicCache:
        """A copy of the kept cache, cut to `length` tokens; an empty one for no tokens."""
        if length == 0:
            return DynamicCache(config=text_config(self._model))
        if self._cache is None:
            self._cache = self._read(self._trunk, DynamicCache(config=text_config(self._model)))
        cache = copy.deepcopy(self._cache)
        if length < len(self._trunk):
            cache.crop(length - len(self._trunk))
        return cache

    def _read(self, tokens: Tokens, cache: DynamicCache) -> DynamicCache:
        """`cache`, of one row, with the keys and values of `tokens` added."""
        with torch.no_grad():
            ids = torch.tensor([list(tokens)], device=self._model.device)
            self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return cache

    def clear(self) -> None:
        """Forget what is kept."""
        self._trunk, self._cache = [], None


def common_length(prompts: Sequence[Tokens]) -> int:
    """Number of tokens that all prompts have in common at their beginning."""
    # What the smallest and the largest share, all between them share.
    low, high = min(map(tuple, prompts)), max(map(tuple, prompts))
    return next((at for at, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))


def can_share(model: Any) -> bool:
    """Whether the model's cache is keys and values of all past tokens: no sliding window, no recurrent state."""
    if uses_virtual_tokens(model):
        return False
    takes = forward_parameters(model)
    layers = DynamicCache(config=text_config(model)).layers
    # "logits_to_keep" marks the models written for this kind of cache.
    return "logits_to_keep" in takes and bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def uses_virtual_tokens(model: Any) -> bool:
    """Whether an adapter (prompt or prefix tuning) puts learned tokens before each prompt."""
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))


def forward_parameters(model: Any) -> frozenset[str]:
    """Names of what the model's own forward pass takes, adapters aside."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return frozenset(inspect.signature(base.forward).parameters)


def text_config(model: Any) -> Any:
    """The configuration of the language model, for models that also have others."""
    return model.config.get_text_config(decoder=True)

"""A model that reads prompts into a key–value cache: what they share at their beginning is read once."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from mibe.models.hf.grouping import WORTH_SAVING, Tokens, common_length
from mibe.models.hf.slots import Part, Rows, merge, spread

PIECE = 4096
"""Tokens read at once on a CPU: their activations are what memory is spent on."""

DEVICE_PIECE = 8192
"""The same on an accelerator."""

TOGETHER = 512
"""Tokens of several prompts read at once on a CPU: more are no faster than one prompt after another."""

LOGITS = 2**26
"""Logits held at once where every position's are wanted: 256 MB in float32."""


class Reader:
    """Reads prompts with one model, and keeps the beginning that it read last.

    `limit` is the largest number of slots for which a cache of keys and values does exactly what the model's own
    would do: all there are for most models, the window for those with a sliding one, 0 for other architectures.
    All calls belong inside `torch.inference_mode`.
    """

    def __init__(self, model: Any) -> None:
        self.limit = plain_cache_limit(model)
        self._model = model
        self._head: list[int] = []
        self._cache: Cache | None = None
        on_cpu = model.device.type == "cpu"
        self._piece = PIECE if on_cpu else DEVICE_PIECE
        self._together = TOGETHER if on_cpu else DEVICE_PIECE

    def read(self, prompts: Sequence[Tokens], head: int, room: int) -> tuple[Rows, torch.Tensor]:
        """Read prompts that share their first `head` tokens and no one's last; (rows, logits after the last token).

        The rows have `room` free slots.
        """
        read = list(self.read_apart(prompts, head, room))
        if len(read) == 1:
            return read[0]
        return merge([Part.whole(rows) for rows, _ in read], room), torch.cat([logits for _, logits in read])

    def read_apart(self, prompts: Sequence[Tokens], head: int, room: int) -> Iterator[tuple[Rows, torch.Tensor]]:
        """The same for some of the prompts after another.

        The head is read once, then each prompt's own part: several at a time where they are short and of like length,
        and else alone, so that little is read that is no token.
        """
        cache = self._read_head(prompts[0][:head])
        for some in alike([len(prompt) - head for prompt in prompts], self._together):
            yield self._read_own(cache, prompts[some], head, room)

    def _read_own(self, cache: Cache, prompts: Sequence[Tokens], head: int, room: int) -> tuple[Rows, torch.Tensor]:
        """Read what comes after the head, whose cache this is. Shorter prompts are padded before it."""
        longest = max(map(len, prompts))
        gaps = [longest - len(prompt) for prompt in prompts]
        mask = torch.tensor([[True] * head + [False] * gap + [True] * (longest - head - gap + room) for gap in gaps])
        rows = spread(cache, mask.to(self._model.device))
        ids = torch.tensor([[0] * gap + list(prompt[head:]) for prompt, gap in zip(prompts, gaps, strict=True)])
        positions = (torch.arange(head, longest) - torch.tensor(gaps)[:, None]).clamp(min=0)
        return rows, self.last_logits(rows, ids, positions)

    def last_logits(self, rows: Rows, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Read `ids` at `positions`, both (rows, tokens), after what the rows hold; (rows, vocabulary) in float32."""
        for piece in self._forward(rows, ids, positions, max(1, self._piece // len(ids)), logits_to_keep=1):
            logits = piece
        return logits[:, -1].float()

    def all_logits(self, rows: Rows, ids: torch.Tensor, positions: torch.Tensor) -> Iterator[torch.Tensor]:
        """The same with the logits of every position, some of them at a time: (rows, some tokens, vocabulary)."""
        width = LOGITS // (len(ids) * text_config(self._model).vocab_size)
        for piece in self._forward(rows, ids, positions, max(1, width), logits_to_keep=0):
            yield piece.float()

    def _forward(
        self, rows: Rows, ids: torch.Tensor, positions: torch.Tensor, width: int, *, logits_to_keep: int
    ) -> Iterator[torch.Tensor]:
        """Logits of the model as it reads `width` tokens of each row at a time."""
        device = self._model.device
        ids, positions = ids.to(device), positions.to(device)
        for start in range(0, ids.shape[1], width):
            end = min(start + width, ids.shape[1])
            yield self._model(
                input_ids=ids[:, start:end],
                attention_mask=rows.mask[:, : rows.used + end - start] if rows.has_gaps else None,
                position_ids=positions[:, start:end],
                past_key_values=rows.cache,
                use_cache=True,
                logits_to_keep=logits_to_keep,
            ).logits

    def _read_head(self, tokens: Tokens) -> Cache:
        """The cache of one row with just these tokens; of the head read last, what is the same stays."""
        known = common_length(self._head, tokens)
        cache, length = self._cache, len(self._head)
        # Should memory run out in the midst of it, then nothing is known to be read.
        self.forget()
        if cache is None or known == 0:
            cache = Cache(layer_class_to_replicate=DynamicLayer)
        elif known < length:
            cache.crop(known - length)
        for start in range(known, len(tokens), self._piece):
            ids = torch.tensor([list(tokens[start : start + self._piece])], device=self._model.device)
            self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        self._head, self._cache = list(tokens), cache
        return cache

    def forget(self) -> None:
        """Keep no beginning."""
        self._head, self._cache = [], None


def are_numbers(logits: torch.Tensor) -> list[bool]:
    """For each row whether its logits, (rows, vocabulary), can be chosen by: none is NaN, and the largest is finite.

    Some models bar tokens by minus infinity.
    """
    sound: list[bool] = torch.isfinite(logits.amax(dim=-1)).tolist()
    return sound


def alike(lengths: Sequence[int], most: int) -> list[slice]:
    """Neighbours that are read together: at most `most` tokens with their padding, or one alone that is longer.

    The padding costs less than one more pass through the model, or is no more than an eighth of what is read.
    """
    slices: list[slice] = []
    start = 0
    for end in range(1, len(lengths) + 1):
        some = lengths[start : end + 1]
        padded = len(some) * max(some)
        if end == len(lengths) or padded > most or padded - sum(some) > max(WORTH_SAVING, padded / 8):
            slices.append(slice(start, end))
            start = end
    return slices


def plain_cache_limit(model: Any) -> int:
    """See `Reader.limit`."""
    takes = forward_parameters(model)
    # "logits_to_keep" marks the models written for this kind of cache.
    if uses_virtual_tokens(model) or not {"logits_to_keep", "position_ids", "past_key_values"} <= takes:
        return 0
    layers = DynamicCache(config=text_config(model)).layers
    if not layers or any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers):
        return 0
    return min((layer.sliding_window for layer in layers if layer.is_sliding), default=sys.maxsize)


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

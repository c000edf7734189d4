"""Greedy or sampled text for one batch of token lists, with each row's own end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from mibe.models.base import FinishReason, Sampling
from mibe.models.prefix import SharedPrefix


@dataclass(frozen=True, slots=True)
class Generated:
    """New tokens of one row, up to and with the one that ended it, and why it ended there."""

    tokens: list[int]
    finish_reason: FinishReason


class StopStrings(StoppingCriteria):  # type: ignore[misc]
    """Ends each row of a batch on its own where its new text holds a stop string.

    lm-eval's criteria watch one string each and end a batch only when every row has met the same one; rows that
    end by different strings, or by the end token, then run on to the token limit.
    """

    def __init__(self, tokenizer: Any, stop: Iterable[str], *, rows: int, prompt_length: int) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        # A token is at least one byte of text, but for markers that may stand between; hence some to spare.
        self._window = max(len(text.encode()) for text in self._stop) + 4
        self._prompt_length = prompt_length
        self.ends: list[int | None] = [None] * rows
        """For each row the number of new tokens with which its text held a stop string, None before."""

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Which rows are done: a boolean for each."""
        length = input_ids.shape[1]
        live = [row for row, end in enumerate(self.ends) if end is None]
        tails = input_ids[live, max(self._prompt_length, length - self._window) :]
        for row, text in zip(live, self._tokenizer.batch_decode(tails), strict=True):
            if any(stop in text for stop in self._stop):
                self.ends[row] = length - self._prompt_length
        return torch.tensor([end is not None for end in self.ends], device=input_ids.device)


def generate_batch(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    sampling: Sampling,
    end_tokens: Sequence[int],
    shared: SharedPrefix,
) -> list[Generated]:
    """Generate after each prompt (token ids of any lengths), all with the same settings.

    Shorter prompts are padded on the left, or rather between what all prompts share and their own part.
    """
    length = max(map(len, prompts))
    read, cache = shared.expand(prompts, at_most=length)
    gaps = [length - len(prompt) for prompt in prompts]
    padding = tokenizer.pad_token_id
    rows = [p[:read] + [padding] * gap + p[read:] for p, gap in zip(prompts, gaps, strict=True)]
    ids = torch.tensor(rows, device=model.device)
    mask = torch.tensor([[1] * read + [0] * gap + [1] * (length - read - gap) for gap in gaps], device=model.device)
    stop = tuple(filter(None, sampling.stop))
    criteria = [StopStrings(tokenizer, stop, rows=len(prompts), prompt_length=length)] if stop else []
    if sampling.temperature > 0:
        torch.manual_seed(sampling.seed)
    output = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=sampling.max_new_tokens,
        stopping_criteria=StoppingCriteriaList(criteria),
        **({"past_key_values": cache} if cache is not None else {}),
        **decoding(sampling),
    )
    met = criteria[0].ends if criteria else [None] * len(prompts)
    return [finish(new, end, end_tokens) for new, end in zip(output[:, length:].tolist(), met, strict=True)]


def decoding(sampling: Sampling) -> dict[str, Any]:
    """Arguments of `generate`: greedy, or the model's own distribution at a temperature, nothing cut from it."""
    if sampling.temperature == 0:
        return {"do_sample": False}
    return {"do_sample": True, "temperature": sampling.temperature, "top_k": 0, "top_p": 1.0}


def finish(tokens: list[int], stop_end: int | None, end_tokens: Iterable[int]) -> Generated:
    """Cut a row's new tokens where it ended: at a stop string, at an end token or at the limit (whichever is first)."""
    ends = frozenset(end_tokens)
    end = next((at + 1 for at, token in enumerate(tokens) if token in ends), None)
    first = min((at for at in (stop_end, end) if at is not None), default=None)
    return Generated(tokens[:first], "length" if first is None else "stop")

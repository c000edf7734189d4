"""The next token of each row: the likeliest, or one drawn, of all tokens or of those that lead to an allowed answer."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from mibe.models.base import Sampling

TAIL = 16
"""Characters at the end of a prompt that may bear on how the answer after it is cut into tokens."""


class Answers:
    """The only texts that a row may write: after each beginning of one, the tokens that may follow."""

    def __init__(self, texts: Iterable[Sequence[int]], ends: Iterable[int]) -> None:
        """Take the tokens of each text. Where one is the beginning of another, a token of `ends` ends it."""
        whole = {tuple(text) for text in texts}
        self._after: dict[tuple[int, ...], set[int]] = {}
        for text in whole:
            for length in range(len(text)):
                self._after.setdefault(text[:length], set()).add(text[length])
        self._whole = whole - self._after.keys()
        for text in whole & self._after.keys():
            self._after[text].update(ends)

    def after(self, tokens: Sequence[int]) -> list[int]:
        """What may come next; nothing after a whole text."""
        return sorted(self._after.get(tuple(tokens), ()))

    def are_over(self, tokens: Sequence[int]) -> bool:
        """Whether the tokens are one of the texts, and the beginning of no other."""
        return tuple(tokens) in self._whole


def encode_answers(
    prompt: str, texts: Sequence[str], bare: Callable[[list[str]], list[list[int]]], ends: Iterable[int]
) -> Answers:
    """The texts as they are tokenized after the prompt; `bare` encodes and adds nothing."""
    tail = prompt[-TAIL:]
    before, *wholes = bare([tail, *(tail + text for text in texts)])
    count = len(before)
    # A tokenizer that joins the end of the prompt to an answer leaves no tokens that are the answer's own.
    own = [
        whole[count:] if whole[:count] == before else alone
        for whole, alone in zip(wholes, bare(list(texts)), strict=True)
    ]
    return Answers(own, ends)


@dataclass(frozen=True, slots=True)
class Draw:
    """What is a row's own: the seed of its dice, and the only answers it may give (None: it is free)."""

    seed: int
    answers: Answers | None = None

    def dice(self, prompt: Sequence[int]) -> torch.Generator:
        """Dice that depend on seed and prompt alone, so that a text does not depend on what it shares a batch with."""
        return torch.Generator().manual_seed(self.seed ^ zlib.crc32(repr(list(prompt)).encode()))

    def is_over(self, tokens: Sequence[int]) -> bool:
        """Whether the new tokens are a whole answer, after which nothing may come."""
        return self.answers is not None and self.answers.are_over(tokens)


class Chooser:
    """Chooses by temperature and cuts, in the order of transformers: temperature, top-k, top-p, min-p."""

    def __init__(self, sampling: Sampling) -> None:
        self._is_greedy = sampling.temperature == 0
        self._warpers = LogitsProcessorList()
        if self._is_greedy:
            return
        self._warpers.append(TemperatureLogitsWarper(float(sampling.temperature)))
        if sampling.top_k > 0:
            self._warpers.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            self._warpers.append(TopPLogitsWarper(sampling.top_p))
        if sampling.min_p > 0:
            self._warpers.append(MinPLogitsWarper(sampling.min_p))

    def choose(
        self,
        logits: torch.Tensor,
        draws: Sequence[Draw],
        texts: Sequence[Sequence[int] | None],
        dice: Sequence[torch.Generator],
    ) -> list[int]:
        """A token for each row: `logits` (rows, vocabulary), the tokens of its answer so far and its dice.

        A row that has no answer yet, since it reasons, has None there, and may write anything.
        """
        logits = _allowed(logits, draws, texts)
        if self._is_greedy:
            chosen: list[int] = logits.argmax(dim=-1).tolist()
            return chosen
        odds = torch.softmax(self._warpers(None, logits.float()), dim=-1).cpu()
        return [int(torch.multinomial(row, 1, generator=own)) for row, own in zip(odds, dice, strict=True)]


def _allowed(logits: torch.Tensor, draws: Sequence[Draw], texts: Sequence[Sequence[int] | None]) -> torch.Tensor:
    """The logits with nothing left, in rows that are not free, but what may come next."""
    bound = {
        row: ids
        for row, (draw, tokens) in enumerate(zip(draws, texts, strict=True))
        if tokens is not None and draw.answers is not None and (ids := draw.answers.after(tokens))
    }
    if not bound:
        return logits
    kept = logits.clone()
    for row, ids in bound.items():
        kept[row] = float("-inf")
        kept[row, ids] = logits[row, ids]
    return kept


class ChosenOnly(LogitsProcessor):  # type: ignore[misc]
    """Leaves transformers' own loop nothing but the token that `Chooser` has chosen for each row."""

    def __init__(self, sampling: Sampling, draws: Sequence[Draw], prompts: Sequence[Sequence[int]]) -> None:
        self._chooser = Chooser(sampling)
        self._draws = draws
        self._dice = [draw.dice(prompt) for draw, prompt in zip(draws, prompts, strict=True)]
        self._prompt_length = max(map(len, prompts))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores of which the chosen token's alone is not minus infinity."""
        texts = input_ids[:, self._prompt_length :].tolist()
        chosen = self._chooser.choose(scores, self._draws, texts, self._dice)
        only = torch.full_like(scores, float("-inf"))
        only[torch.arange(len(chosen)), chosen] = 0.0
        return only

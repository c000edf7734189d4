"""The next token of each row: the likeliest, or one drawn, of all tokens or of those that lead to an allowed answer."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from mibe.models.base import Request, Sampling
from mibe.models.hf.endings import Written
from mibe.models.reasoning import Reasoning, answer_texts, answers_behind, forms_of

TAIL = 16
"""Characters at the end of a prompt that may bear on how the answer after it is cut into tokens."""


class Answers:
    """The only texts that a row may write: after each beginning of one, the tokens that may follow."""

    def __init__(
        self, texts: Iterable[Sequence[int]], ends: Iterable[int], openings: Iterable[Sequence[int]] = ()
    ) -> None:
        """Take the tokens of each text. Where one is the beginning of another, a token of `ends` ends it.

        After the tokens of one of `openings` anything may come: they begin a reasoning.
        """
        whole = {tuple(text) for text in texts}
        self._after: dict[tuple[int, ...], set[int]] = {}
        for text in whole | {tuple(opening) for opening in openings}:
            for length in range(len(text)):
                self._after.setdefault(text[:length], set()).add(text[length])
        self._whole = whole - self._after.keys()
        for text in whole & self._after.keys():
            self._after[text].update(ends)

    def after(self, tokens: Sequence[int]) -> list[int]:
        """What may come next; nothing where the row is free, or over."""
        return sorted(self._after.get(tuple(tokens), ()))

    def are_over(self, tokens: Sequence[int]) -> bool:
        """Whether the tokens are one of the texts, and the beginning of no other."""
        return tuple(tokens) in self._whole


def encode_after(prompt: str, texts: Sequence[str], encode: Callable[[list[str]], list[list[int]]]) -> list[list[int]]:
    """The tokens of each text after the prompt; `encode` adds nothing of its own."""
    tail = prompt[-TAIL:]
    before, *wholes = encode([tail, *(tail + text for text in texts)])
    count = len(before)
    # A tokenizer that joins the end of the prompt to an answer leaves no tokens that are the answer's own.
    return [
        whole[count:] if whole[:count] == before else alone
        for whole, alone in zip(wholes, encode(list(texts)), strict=True)
    ]


def answer_tables(
    request: Request,
    reasoning: Reasoning | None,
    encode: Callable[[list[str]], list[list[int]]],
    ends: Sequence[int],
    *,
    chat: bool,
) -> tuple[Answers, dict[str, Answers]]:
    """What may be written for the answers that a request allows: at once, and after each form of reasoning."""
    answers, forms = request.sampling.allowed, forms_of(reasoning, request.sampling)
    begins = [] if reasoning is not None and reasoning.opened else encode([form.marks[0] for form in forms])
    own = encode_after(request.text, answer_texts(answers, chat=chat), encode)
    behind = {form.name: Answers(encode(answers_behind(answers, form)), ends) for form in forms}
    return Answers(own, ends, begins), behind


@dataclass(frozen=True, slots=True)
class Draw:
    """What is a row's own: the seed of its dice, and the only answers it may give (None: it is free).

    `behind` are those after a reasoning, by the name of its form.
    """

    seed: int
    answers: Answers | None = None
    behind: Mapping[str, Answers] = field(default_factory=dict)

    def dice(self, prompt: Sequence[int]) -> torch.Generator:
        """Dice that depend on seed and prompt alone, so that a text does not depend on what it shares a batch with."""
        return torch.Generator().manual_seed(self.seed ^ zlib.crc32(repr(list(prompt)).encode()))

    def choices(self, written: Written) -> list[int]:
        """What may come next; nothing where the row is free (as long as it reasons, too), or over."""
        answers = self._answers(written)
        return [] if answers is None else answers.after(written.tokens[written.closed_at :])

    def is_over(self, written: Written) -> bool:
        """Whether a whole answer stands there, after which nothing may come."""
        answers = self._answers(written)
        return answers is not None and answers.are_over(written.tokens[written.closed_at :])

    def _answers(self, written: Written) -> Answers | None:
        if written.inside is not None and written.is_sure:
            return None
        return self.answers if written.closed is None else self.behind.get(written.closed.name, self.answers)


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
        written: Sequence[Written],
        dice: Sequence[torch.Generator],
    ) -> list[int]:
        """A token for each row: by `logits` (rows, vocabulary), what it has written so far, and its dice."""
        logits = _allowed(logits, draws, written)
        if self._is_greedy:
            chosen: list[int] = logits.argmax(dim=-1).tolist()
            return chosen
        odds = torch.softmax(self._warpers(None, logits.float()), dim=-1).cpu()
        return [int(torch.multinomial(row, 1, generator=own)) for row, own in zip(odds, dice, strict=True)]


def _allowed(logits: torch.Tensor, draws: Sequence[Draw], written: Sequence[Written]) -> torch.Tensor:
    """The logits with nothing left, in rows that are not free, but what may come next."""
    bound = {
        row: ids for row, (draw, text) in enumerate(zip(draws, written, strict=True)) if (ids := draw.choices(text))
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

    def __init__(
        self, sampling: Sampling, draws: Sequence[Draw], prompts: Sequence[Sequence[int]], written: Sequence[Written]
    ) -> None:
        self._chooser = Chooser(sampling)
        self._draws = draws
        self._dice = [draw.dice(prompt) for draw, prompt in zip(draws, prompts, strict=True)]
        self._written = written

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores of which the chosen token's alone is not minus infinity."""
        chosen = self._chooser.choose(scores, self._draws, self._written, self._dice)
        only = torch.full_like(scores, float("-inf"))
        only[torch.arange(len(chosen)), chosen] = 0.0
        return only

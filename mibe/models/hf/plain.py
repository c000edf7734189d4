"""Models whose past is more than plain keys and values (sliding windows, recurrent state, virtual tokens).

They run batch by batch through transformers' own loops, and share nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from mibe.models.base import Sampling, TokenScores
from mibe.models.hf.choosing import ChosenOnly, Draw
from mibe.models.hf.endings import Endings, Written
from mibe.models.hf.generation import Fault, Generated
from mibe.models.hf.likelihood import standings, tokens_of
from mibe.models.hf.reader import are_numbers, forward_parameters
from mibe.models.pairs import Pair
from mibe.parsers.reasoning import Format

Row: TypeAlias = tuple[int, list[int]]
"""Number of a request, and those of its continuations for which the model reads the same input."""


class Broken(LogitsProcessor):  # type: ignore[misc]
    """Takes down the `rows` whose logits are no numbers, and gives them numbers, so that the others can go on."""

    def __init__(self) -> None:
        self.rows: set[int] = set()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores, (rows, vocabulary), with zeros for those rows."""
        self.rows.update(row for row, is_sound in enumerate(are_numbers(scores)) if not is_sound)
        return scores.index_fill(0, torch.tensor(sorted(self.rows), dtype=torch.long, device=scores.device), 0.0)


class StopRows(StoppingCriteria):  # type: ignore[misc]
    """Ends each row of a batch on its own.

    lm-eval's criteria watch one string each and end a batch only when every row has met the same one; rows that
    end by different strings, or by the end token, then run on to the token limit.
    """

    def __init__(self, endings: Endings, draws: Sequence[Draw], written: Sequence[Written], broken: Broken) -> None:
        self._endings = endings
        self._draws = draws
        self._written = written
        self._broken = broken
        self.ended: list[Generated | Fault | None] = [None] * len(written)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Which rows are done: a boolean for each."""
        for row in self._broken.rows:
            self.ended[row] = self.ended[row] or "logits"
        live = [row for row, ended in enumerate(self.ended) if ended is None]
        for row in live:
            self._written[row].add(int(input_ids[row, -1]))
        for row, reason in zip(live, self._endings.reasons([self._written[row] for row in live]), strict=True):
            if self._draws[row].is_over(self._written[row]):
                reason = "stop"
            if reason is not None:
                self.ended[row] = Generated.of(self._written[row], reason)
        return torch.tensor([ended is not None for ended in self.ended], device=input_ids.device)


class Dictate(LogitsProcessor):  # type: ignore[misc]
    """Leaves a row no choice where its next token is dictated."""

    def __init__(self, written: Sequence[Written]) -> None:
        self._written = written

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores, (rows, vocabulary), with one possible token for the rows that are dictated to."""
        for row, written in enumerate(self._written):
            if written.dictated:
                scores[row] = float("-inf")
                scores[row, written.dictated[0]] = 0.0
        return scores


def generate_batch(
    model: Any,
    prompts: Sequence[list[int]],
    draws: Sequence[Draw],
    sampling: Sampling,
    endings: Endings,
    padding: int,
    opened: Sequence[Format | None],
) -> list[Generated | Fault]:
    """Generate after each prompt (token ids of any lengths), all with the same settings; padded on the left.

    `opened` is the reasoning that each prompt has opened.
    """
    length = max(map(len, prompts))
    gaps = [length - len(prompt) for prompt in prompts]
    ids = torch.tensor([[padding] * gap + prompt for prompt, gap in zip(prompts, gaps, strict=True)])
    mask = torch.tensor([[0] * gap + [1] * (length - gap) for gap in gaps])
    written, broken = [Written.after(form) for form in opened], Broken()
    stop = StopRows(endings, draws, written, broken)
    model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=endings.room,
        logits_processor=LogitsProcessorList([broken, ChosenOnly(sampling, draws, prompts, written), Dictate(written)]),
        stopping_criteria=StoppingCriteriaList([stop]),
        do_sample=False,
    )
    return [ended for ended in stop.ended if ended is not None]


def rows_of(pairs: Sequence[Sequence[Pair]]) -> list[Row]:
    """What is read, longest first: continuations with the same input are one row (those of one token all are)."""
    rows = list(_same_inputs(pairs))
    return sorted(rows, key=lambda row: -len(pairs[row[0]][row[1][0]].input))


def _same_inputs(pairs: Sequence[Sequence[Pair]]) -> Iterator[Row]:
    for index, choices in enumerate(pairs):
        same: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for choice, pair in enumerate(choices):
            same[pair.input].append(choice)
        yield from ((index, numbers) for numbers in same.values())


def score_batch(model: Any, batch: Sequence[Sequence[Pair]]) -> list[list[float]]:
    """Sum of the log-probabilities of each continuation's tokens; the pairs of one row share their `input`.

    Rows are padded on the right, where a causal model never looks. Logits are computed at the needed positions
    alone where the model can, and go to float32 row by row: the vocabulary makes them the largest thing in memory.
    """
    inputs = [pairs[0].input for pairs in batch]
    first = [len(row) - max(len(pair.continuation) for pair in pairs) for row, pairs in zip(inputs, batch, strict=True)]
    positions = sorted({at for row, start in zip(inputs, first, strict=True) for at in range(start, len(row))})
    column = {at: index for index, at in enumerate(positions)}
    length = max(map(len, inputs))
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in inputs], device=model.device)
    logits = _logits(model, ids, positions)
    scores = []
    for row, (tokens, pairs) in enumerate(zip(inputs, batch, strict=True)):
        needed = [column[at] for at in range(first[row], len(tokens))]
        log_probs = torch.log_softmax(logits[row, needed].float(), dim=-1)
        scores.append([_sum(log_probs, pair.continuation) for pair in pairs])
    return scores


def score_tokens_plainly(model: Any, batch: Sequence[Sequence[int]]) -> list[TokenScores]:
    """The scores of all tokens but the first of each text of two or more, which are padded on the right."""
    length = max(map(len, batch))
    ids = torch.tensor([[*tokens, *[0] * (length - len(tokens))] for tokens in batch], device=model.device)
    logits = _logits(model, ids, range(length - 1))
    found = [standings(row[None], tokens[None, 1:]) for row, tokens in zip(logits, ids, strict=True)]
    return tokens_of(torch.cat(found, dim=1), [len(tokens) - 1 for tokens in batch])


def _sum(log_probs: torch.Tensor, continuation: Sequence[int]) -> float:
    """Sum over the last positions: `log_probs` is (positions, vocabulary)."""
    tokens = torch.tensor(continuation, device=log_probs.device)
    return float(log_probs[-len(continuation) :].gather(1, tokens[:, None]).sum())


def _logits(model: Any, ids: torch.Tensor, positions: Sequence[int]) -> torch.Tensor:
    """Logits at `positions` of every row: (rows, positions, vocabulary)."""
    takes = forward_parameters(model)
    options = {"use_cache": False} if "use_cache" in takes else {}
    keep = torch.tensor(positions, device=ids.device)
    logits: torch.Tensor
    if "logits_to_keep" in takes:
        logits = model(input_ids=ids, logits_to_keep=keep, **options).logits
    else:
        logits = model(input_ids=ids, **options).logits[:, keep]
    return logits

"""Log-likelihoods of texts after prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mibe.models.prefix import SharedPrefix, forward_parameters

Encode = Callable[[list[str]], list[list[int]]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Tokens of a prompt and of one continuation of it."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def input(self) -> tuple[int, ...]:
        """What the model reads: all but the last token, which is only predicted."""
        return self.context + self.continuation[:-1]


def encode_pairs(text: str, continuations: Sequence[str], encode: Encode, bare: Encode, prefix: int) -> list[Pair]:
    """Tokens of a prompt with each of its continuations, split where the continuation begins (as lm-eval does).

    White space at the end of the prompt goes with the continuation, since tokenizers join it to the word that
    follows. `encode` adds what the tokenizer puts before a text, `bare` adds nothing; `prefix` stands for an empty
    prompt. Raises `ValueError` for an empty continuation.
    """
    kept = text.rstrip()
    tails = [text[len(kept) :] + continuation for continuation in continuations]
    if not all(tails):
        raise ValueError("an empty continuation has no likelihood")
    if not kept:
        return [_after_prefix(tokens, prefix) for tokens in bare(tails)]
    context, *wholes = encode([kept, *(kept + tail for tail in tails)])
    return [
        # The second form is for tokenizers that join both texts into no more tokens than the prompt alone has.
        Pair(tuple(context), tuple(whole[len(context) :] or bare([tail])[0]))
        for whole, tail in zip(wholes, tails, strict=True)
    ]


def _after_prefix(tokens: list[int], prefix: int) -> Pair:
    """All of a text as the continuation of nothing; a first token that is the prefix itself is not scored."""
    return Pair((prefix,), tuple(tokens[1:] if len(tokens) > 1 and tokens[0] == prefix else tokens))


def score_batch(model: Any, batch: Sequence[Sequence[Pair]], shared: SharedPrefix) -> list[list[float]]:
    """Sum of the log-probabilities of each continuation's tokens; the pairs of one row share their `input`.

    Rows are padded on the right, where a causal model never looks. Logits are computed at the needed positions
    alone and go to float32 row by row, since the vocabulary makes them the largest thing in memory.
    """
    inputs = [pairs[0].input for pairs in batch]
    first = [len(row) - max(len(pair.continuation) for pair in pairs) for row, pairs in zip(inputs, batch, strict=True)]
    positions = sorted({at for row, start in zip(inputs, first, strict=True) for at in range(start, len(row))})
    column = {at: index for index, at in enumerate(positions)}
    read, cache = shared.expand(inputs, at_most=positions[0])
    length = max(map(len, inputs))
    ids = torch.tensor([[*row[read:], *[0] * (length - len(row))] for row in inputs], device=model.device)
    with torch.no_grad():
        logits = _logits(model, ids, [at - read for at in positions], cache)
        scores = []
        for row, (tokens, pairs) in enumerate(zip(inputs, batch, strict=True)):
            needed = [column[at] for at in range(first[row], len(tokens))]
            log_probs = torch.log_softmax(logits[row, needed].float(), dim=-1)
            scores.append([_sum(log_probs, pair.continuation) for pair in pairs])
    return scores


def _sum(log_probs: torch.Tensor, continuation: Sequence[int]) -> float:
    """Sum over the last positions: `log_probs` is (positions, vocabulary)."""
    tokens = torch.tensor(continuation, device=log_probs.device)
    return float(log_probs[-len(continuation) :].gather(1, tokens[:, None]).sum())


def _logits(model: Any, ids: torch.Tensor, positions: Sequence[int], cache: Any) -> torch.Tensor:
    """Logits at `positions` of every row: (rows, positions, vocabulary). `cache` holds what comes before `ids`."""
    takes = forward_parameters(model)
    options: dict[str, Any] = {"use_cache": cache is not None} if "use_cache" in takes else {}
    if cache is not None:
        options["past_key_values"] = cache
    keep = torch.tensor(positions, device=ids.device)
    logits: torch.Tensor
    if "logits_to_keep" in takes:
        logits = model(input_ids=ids, logits_to_keep=keep, **options).logits
    else:
        logits = model(input_ids=ids, **options).logits[:, keep]
    return logits

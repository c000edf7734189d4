"""Log-likelihoods of texts after prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from mibe.models.reader import Reader
from mibe.models.slots import Part, merge

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


def score_choices(reader: Reader, batch: Sequence[Sequence[Pair]], head: int) -> list[list[float]]:
    """Log-likelihood of each continuation of each request; all contexts share their first `head` tokens.

    `batch` holds the pairs of each request, which have one context. Contexts are read once; what follows the first
    tokens of the continuations is then read after copies of them, padded on the right, where no token looks.
    """
    contexts = [pairs[0].context for pairs in batch]
    longer = [
        (row, choice)
        for row, pairs in enumerate(batch)
        for choice, pair in enumerate(pairs)
        if len(pair.continuation) > 1
    ]
    width = max((len(batch[row][choice].continuation) - 1 for row, choice in longer), default=0)
    rows, logits = reader.read(contexts, head, room=0)
    log_probs = torch.log_softmax(logits, dim=-1)
    scores = [log_probs[row, [pair.continuation[0] for pair in pairs]].tolist() for row, pairs in enumerate(batch)]
    if not longer:
        return scores
    copies = merge([Part.of(rows, [row for row, _ in longer])], room=width)
    texts = [batch[row][choice].continuation for row, choice in longer]
    ids = torch.tensor([[*text[:-1], *[0] * (width + 1 - len(text))] for text in texts])
    positions = torch.tensor([len(contexts[row]) for row, _ in longer])[:, None] + torch.arange(width)
    start = 0
    for piece in reader.all_logits(copies, ids, positions):
        log_probs = torch.log_softmax(piece, dim=-1)
        for number, ((row, choice), text) in enumerate(zip(longer, texts, strict=True)):
            wanted = text[1 + start : 1 + start + piece.shape[1]]
            scores[row][choice] += float(log_probs[number, range(len(wanted)), list(wanted)].sum())
        start += piece.shape[1]
    return scores

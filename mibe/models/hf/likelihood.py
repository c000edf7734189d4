"""Log-likelihoods of texts after prompts."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mibe.models.hf.reader import Reader
from mibe.models.hf.slots import Part, merge
from mibe.models.pairs import Pair


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

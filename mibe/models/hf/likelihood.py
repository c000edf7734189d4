"""Log-likelihoods of texts after prompts, and of each token of a text."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mibe.models.base import TokenScores
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


def score_tokens(reader: Reader, batch: Sequence[Sequence[int]]) -> list[TokenScores]:
    """The scores of all tokens but the first of each text, token ids of any lengths from two on.

    Texts are padded on the right, where no token looks.
    """
    width = max(map(len, batch)) - 2
    rows, logits = reader.read([tokens[:1] for tokens in batch], 0, room=width)
    following = [torch.tensor([*tokens[1:], *[0] * (width + 2 - len(tokens))]) for tokens in batch]
    targets = torch.stack(following).to(logits.device)
    pieces = [standings(logits[:, None], targets[:, :1])]
    if width:
        ids = targets[:, :-1]
        positions = torch.arange(1, width + 1).expand(len(batch), width)
        start = 1
        for piece in reader.all_logits(rows, ids, positions):
            pieces.append(standings(piece, targets[:, start : start + piece.shape[1]]))
            start += piece.shape[1]
    return tokens_of(torch.cat(pieces, dim=2), [len(tokens) - 1 for tokens in batch])


def standings(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probability of each target, then mean and deviation over the vocabulary: (3, rows, tokens).

    `logits` is (rows, tokens, vocabulary). The deviation is the root of the mean square distance from the mean, which
    rounding cannot make less than 0, as it can the difference of two means.
    """
    log_probs = torch.log_softmax(logits.float(), dim=-1)
    probs = log_probs.exp()
    # What a model bars has no probability, and must not become 0 · −∞.
    finite = torch.where(probs > 0, log_probs, 0.0)
    means = (probs * finite).sum(dim=-1)
    deviations = (probs * (finite - means[..., None]).square()).sum(dim=-1).sqrt()
    return torch.stack([log_probs.gather(-1, targets[..., None])[..., 0], means, deviations])


def tokens_of(scores: torch.Tensor, lengths: Sequence[int]) -> list[TokenScores]:
    """The scores, (3, rows, tokens), row by row without the padding behind them."""
    return [
        TokenScores(*(tuple(values[:length].tolist()) for values in scores[:, row]))
        for row, length in enumerate(lengths)
    ]

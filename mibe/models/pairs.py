"""Prompts and their continuations as tokens, for likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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

"""What is read from a tokenizer before a model runs: what begins every text, and what ends an answer."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mibe.errors import ModelError
from mibe.models.templates import TEMPLATE_ERRORS
from mibe.parsers.reasoning import FORMATS

_ANSWER = "mibe-answer"
"""The content of a turn whose end is looked for: no token of a template's own."""


@dataclass(frozen=True)
class Encoder:
    """A tokenizer that puts `prefix` before each prompt exactly once, and nothing else."""

    tokenizer: Any
    prefix: list[int] = field(default_factory=list)

    def whole(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, with the prefix."""
        prefix = self.prefix
        return [ids if ids[: len(prefix)] == prefix else prefix + ids for ids in self.bare(texts)]

    def bare(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text alone."""
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return ids


def window_problem(prompt: int, new: int, window: int | None) -> str | None:
    """What keeps a prompt of so many tokens from being answered with so many new ones, or None."""
    if prompt == 0:
        return "the prompt is empty"
    if window is None or prompt + new <= window:
        return None
    return f"{prompt} prompt and {new} new tokens do not fit the context window of {window}"


def check_vocabulary(tokenizer: Any, rows: int, source: str) -> None:
    """Raise `ModelError` where the tokenizer has ids for which the model has no row in its embeddings."""
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= rows:
        raise ModelError(
            f"the tokenizer of {source} has ids up to {largest}, and the model has {rows} embeddings (ids up to "
            f"{rows - 1}): they do not belong together; name the model's own tokenizer by tokenizer=FOLDER"
        )


def added_before(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before every text: usually nothing, or the token that begins a sequence."""
    alone = tokenizer("a", add_special_tokens=False)["input_ids"]
    full: list[int] = tokenizer("a")["input_ids"]
    start = next((at for at in range(len(full)) if full[at : at + len(alone)] == alone), 0)
    return full[:start]


def end_tokens(tokenizer: Any, configurations: Iterable[Any], *, chat: bool) -> list[int]:
    """Ids of the tokens that end an output: those of model and tokenizer, and the end of a turn for a chat model.

    Fine-tuned models often keep their base model's end token in the configuration while they were taught to
    close a turn with another one: the one that the chat template puts after an answer.
    """
    ids: list[int] = []
    for source in (*configurations, tokenizer):
        end = getattr(source, "eos_token_id", None)
        ids += end if isinstance(end, list) else [end] if end is not None else []
    if not chat:
        return list(dict.fromkeys(ids))
    special: dict[str, int] = tokenizer.get_added_vocab()
    template = str(tokenizer.chat_template)
    inner: set[int] = set()
    for form in FORMATS:
        if form.turn_ends and form.mark_in(template):
            inner |= {special[token] for token in form.message_ends if token in special}
            ids += [special[token] for token in form.turn_ends if token in special]
    ids += [special[token] for token in turn_end(tokenizer, special) if token in special]
    return [token for token in dict.fromkeys(ids) if token not in inner]


def turn_end(tokenizer: Any, special: Iterable[str]) -> tuple[str, ...]:
    """The tokens that the chat template puts after an answer: some end the answer first, and then the turn."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _ANSWER}]
    try:
        text: str = tokenizer.apply_chat_template(turns, tokenize=False)
    except TEMPLATE_ERRORS:
        # A template for prompts alone.
        return ()
    after = text.rpartition(_ANSWER)[2]
    one = "|".join(re.escape(token) for token in sorted(special, key=len, reverse=True))
    found = re.match(rf"(?:\s*(?:{one}))+", after) if one else None
    return () if found is None else tuple(re.findall(one, found[0]))


def without_end(tokens: Sequence[int], ends: Collection[int]) -> Sequence[int]:
    """The tokens of an output without those that ended it."""
    count = len(tokens)
    while count and tokens[count - 1] in ends:
        count -= 1
    return tokens[:count]

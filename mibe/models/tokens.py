"""What is read from a tokenizer before a model runs: what begins every text, and what ends an answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|eot|>", "<turn|>")
"""Tokens that end a turn in the chat templates in use."""


def added_before(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before every text: usually nothing, or the token that begins a sequence."""
    alone = tokenizer("a", add_special_tokens=False)["input_ids"]
    full: list[int] = tokenizer("a")["input_ids"]
    start = next((at for at in range(len(full)) if full[at : at + len(alone)] == alone), 0)
    return full[:start]


def end_tokens(tokenizer: Any, configurations: Iterable[Any], *, chat: bool) -> list[int]:
    """Ids of the tokens that end an output: those of model and tokenizer, and the end of a turn for a chat model.

    Fine-tuned models often keep their base model's end token in the configuration while they were taught to
    close a turn with another one, which then stands in the chat template.
    """
    ids: list[int] = []
    for source in (*configurations, tokenizer):
        end = getattr(source, "eos_token_id", None)
        ids += end if isinstance(end, list) else [end] if end is not None else []
    if chat:
        template = str(tokenizer.chat_template)
        special = tokenizer.get_added_vocab()
        ids += [special[token] for token in END_OF_TURN if token in template and token in special]
    return list(dict.fromkeys(ids))

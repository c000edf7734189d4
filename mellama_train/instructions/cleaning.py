"""Texts of items made clean, and what counts as null."""

from __future__ import annotations

from dataclasses import replace

from mellama_train.corpus.cleaning import control_characters, unicode
from mellama_train.instructions.items import Item
from mellama_train.instructions.prompts import Prompt

NULLS = frozenset({"nan", "null", "<noinput>", "<nooutput>", "<no input>"})
"""What exports write where there is nothing. "None" and "N/A" are not among them: they can be answers."""
NO_CONTEXT = NULLS | {"none", "n/a", "no input", "noinput", "not applicable", "no input needed", "no input required"}
"""What Alpaca and its kin also write into an optional context that is not there."""


def cleaned(item: Item, prompt: Prompt) -> Item | None:
    """The item with clean texts, or None when the response or what the prompt requires is null."""
    fields = {
        slot: _clean(text, NO_CONTEXT if slot == prompt.optional else NULLS) for slot, text in item.fields.items()
    }
    response = _clean(item.response, NULLS)
    if not response or not all(fields[slot] for slot in prompt.required()):
        return None
    follow_up = []
    for user, assistant in item.follow_up:
        turn = _clean(user, NULLS), _clean(assistant, NULLS)
        if not all(turn):
            break
        follow_up.append(turn)
    return replace(item, fields=fields, response=response, follow_up=tuple(follow_up))


def _clean(text: str, nulls: frozenset[str]) -> str:
    clean = control_characters(unicode(text)).strip()
    return "" if clean.rstrip(".").casefold() in nulls else clean

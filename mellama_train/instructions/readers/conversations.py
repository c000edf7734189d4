"""Conversations of many turns, as ShareGPT has them: {"id", "conversations": [{"from", "value"}]}."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mellama_train.errors import DataError
from mellama_train.instructions.items import Item, Items
from mellama_train.instructions.readers import EachFile
from mellama_train.instructions.readers.records import records, text_of

USER = frozenset({"human", "user"})
ASSISTANT = frozenset({"gpt", "chatgpt", "assistant", "bing", "bard"})


def read_sharegpt(path: Path) -> Items:
    """One item a conversation, from its first user turn to its last assistant turn."""
    for place, record in records(path):
        turns = record.get("conversations")
        if not isinstance(turns, list):
            raise DataError(f"{place}: no list `conversations`; it has {', '.join(record) or 'nothing'}")
        exchanges = _exchanges(turns, place)
        (first, response), *rest = exchanges or [("", "")]
        yield Item(str(record.get("id") or place), {"input": first, "context": ""}, response, tuple(rest))


def _exchanges(turns: list[Any], place: str) -> list[tuple[str, str]]:
    """Pairs of a user's and an assistant's text, up to the first turn that is empty.

    What comes before the first user turn (a system text, the rest of an answer) and a last question without an answer
    are left out; turns of one speaker in a row are one turn.
    """
    speakers: list[tuple[bool, list[str]]] = []
    for turn in turns:
        speaker = turn.get("from") if isinstance(turn, dict) else None
        if speaker not in USER | ASSISTANT:
            if speaker == "system":
                continue
            raise DataError(
                f"{place}: a turn is from {speaker!r}; known: {', '.join(sorted(USER | ASSISTANT))}, system"
            )
        is_user, text = speaker in USER, text_of(turn.get("value"), place, "value").strip()
        if not text:
            break
        if speakers and speakers[-1][0] == is_user:
            speakers[-1][1].append(text)
        elif speakers or is_user:
            speakers.append((is_user, [text]))
    texts = ["\n\n".join(parts) for _, parts in speakers]
    return list(zip(texts[::2], texts[1::2], strict=False))


SHAREGPT = EachFile(read_sharegpt, (".json", ".jsonl"))

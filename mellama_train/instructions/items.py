"""What a source yields: one item for each prompt and response, before the prompt is laid out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Item:
    """Texts by the names that the prompt's slots have, the response to them, and what followed in a conversation.

    `id` is the source's own, or file and place. An empty text stands for what the source left out. `follow_up` holds
    (user, assistant) turns after the response.
    """

    id: str
    fields: Mapping[str, str]
    response: str
    follow_up: tuple[tuple[str, str], ...] = ()

    def texts(self) -> list[str]:
        """All that is the item's own and not the prompt's, in order."""
        turns = [text for turn in self.follow_up for text in turn]
        return [text for text in (*self.fields.values(), self.response, *turns) if text]


Items: TypeAlias = Iterator[Item]

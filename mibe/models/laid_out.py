"""Models whose prompts their tokenizer's chat template lays out: the same in every engine, and where none is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mibe.models.base import Message
from mibe.models.reasoning import Reasoning, reasoning_by_template
from mibe.models.templates import render_turns, template_switches
from mibe.models.text import plain_text

TEMPLATED = frozenset({"chat_template_args", "reasoning_effort"})
"""What prompts can be asked for that a chat template lays out."""


class LaidOut:
    """The part of a model that lays prompts out: by its tokenizer's chat template (`chat`), or as plain text.

    `label` is what an error calls the model whose template fails.
    """

    def __init__(self, tokenizer: Any, *, label: str, chat: bool) -> None:
        self.is_chat = chat
        self.template_switches = template_switches(tokenizer.get_chat_template() if chat else None)
        self._tokenizer = tokenizer
        self._label = label
        self._template_args: Mapping[str, Any] = {}

    def use_template_args(self, args: Mapping[str, Any]) -> None:
        """Set switches of the chat template: `template_switches` are their names."""
        self._template_args = args

    def render(self, messages: Sequence[Message]) -> str:
        """The text of the messages: by the chat template, up to where the answer begins, or as they are."""
        if not self.is_chat:
            return plain_text(messages)
        return render_turns(self._tokenizer, messages, name=self._label, **self._template_args)

    @property
    def reasoning(self) -> Reasoning | None:
        """How the model reasons, as its chat template says with the switches that are set."""
        return reasoning_by_template(self._tokenizer.get_chat_template(), self.render) if self.is_chat else None

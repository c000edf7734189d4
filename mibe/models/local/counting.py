"""Models that read nothing: they lay prompts out and count tokens as a model would, without its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from math import ceil
from typing import Any

from mibe.errors import ModelError, UsageError
from mibe.models.arguments import switch
from mibe.models.base import Message, Renderer
from mibe.models.folders import check_exists
from mibe.models.laid_out import TEMPLATED, LaidOut
from mibe.models.templates import check_template
from mibe.models.text import one_line, plain_text


class Estimate:
    """Plain text, and a token for every so many characters."""

    is_chat = False
    context_window: int | None = None

    def __init__(self, characters_per_token: float) -> None:
        self.name = f"estimated, {characters_per_token:g} characters each (name a model folder to have them counted)"
        self._characters = characters_per_token

    def render(self, messages: Sequence[Message]) -> str:
        """The plain text of the messages."""
        return plain_text(messages)

    def count_tokens(self, text: str) -> int:
        """Characters by characters a token, rounded up."""
        return ceil(len(text) / self._characters)


class TokenizerOnly(LaidOut):
    """A model folder's (or hub model's) own tokenizer and chat template."""

    def __init__(self, label: str, tokenizer: Any, *, chat_template: bool, context_window: int | None) -> None:
        chat = chat_template and bool(getattr(tokenizer, "chat_template", None))
        super().__init__(tokenizer, label=label, chat=chat)
        self.name = f"counted by the tokenizer of {label}"
        self.context_window = context_window
        self.can = TEMPLATED if chat else frozenset()
        self._added = 0 if chat else tokenizer.num_special_tokens_to_add(pair=False)

    def count_tokens(self, text: str) -> int:
        """Tokens of a rendered prompt, with what the tokenizer adds to a plain one."""
        ids = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return len(ids) + self._added


def load_counter(model: str | None, args: Mapping[str, str], *, characters_per_token: float) -> Renderer:
    """What counts the tokens of a model's prompts: its tokenizer where it has a folder or hub name, or an estimate."""
    if not characters_per_token > 0:
        raise UsageError(f"--characters-per-token {characters_per_token} is out of range; above 0")
    label = source = args.get("tokenizer") or args.get("pretrained")
    if model == "demo":
        from mibe.models.local.demo import CONTEXT_WINDOW, demo_path

        label, source = "the demo model", str(demo_path())
        args = {"max_length": str(CONTEXT_WINDOW), **args, "pretrained": source}
    if source is None or label is None:
        return Estimate(characters_per_token)
    check_exists("pretrained", source)
    try:
        transformers = import_module("transformers")
    except ImportError as error:
        raise ModelError(f'counting tokens needs `pip install "mibe[hf]"` ({error})') from error
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source)
        config = transformers.AutoConfig.from_pretrained(args.get("pretrained", source))
    except (OSError, ValueError) as error:
        raise ModelError(f"the tokenizer of {source} cannot be loaded: {one_line(error)}") from None
    window = args.get("max_length") or getattr(config, "max_position_embeddings", None)
    try:
        chat_template = switch(args.get("chat_template", "on"))
        if chat_template and getattr(tokenizer, "chat_template", None):
            check_template(tokenizer, name=label)
        return TokenizerOnly(
            label, tokenizer, chat_template=chat_template, context_window=None if window is None else int(window)
        )
    except ValueError as error:
        raise UsageError(f"the model arguments chat_template and max_length: {error}") from None

"""Chat templates: programs that came with a tokenizer, and fail as programs do."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from jinja2 import Environment, TemplateError, meta

from mibe.errors import ModelError
from mibe.models.base import Message
from mibe.models.text import one_line

Render = Callable[[Sequence[Message]], str]
"""Lays out the turns of a prompt as one text."""

TEMPLATE_ERRORS = (TemplateError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What a template raises: by its own `raise_exception`, or because it is wrong."""


GIVEN = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message", "bos_token", "eos_token"}
    | {"pad_token", "unk_token", "sep_token", "cls_token", "mask_token", "additional_special_tokens"}
    | {"raise_exception", "strftime_now", "tojson", "range", "dict", "namespace", "lipsum", "cycler", "joiner"}
)
"""What a template reads that is no switch: what transformers or jinja put there themselves."""

_GENERATION_TAG = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")


def render_turns(tokenizer: Any, messages: Sequence[Message], *, name: str, **switches: Any) -> str:
    """The text of the messages by the tokenizer's chat template, up to where the answer begins.

    `name` is the model's, `switches` are the template's own. Raises `ModelError`, in one line, where it fails.
    """
    try:
        text: str = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, **switches
        )
    except TEMPLATE_ERRORS as error:
        raise template_problem(name, one_line(error)) from error
    return text


def template_problem(name: str, reason: str) -> ModelError:
    """The error for a template that fails, with what to do about it."""
    reason = reason.rstrip(".")
    return ModelError(
        f"the chat template of {name} fails: {reason}; mend it, or take chat_template=off for plain prompts",
        said=reason,
    )


def check_template(tokenizer: Any, *, name: str) -> None:
    """Raise `ModelError` for a chat template that can lay out no prompt, whether with or without a system turn."""
    template = tokenizer.chat_template
    if isinstance(template, dict) and "default" not in template:
        names = ", ".join(sorted(template))
        raise template_problem(name, f"it comes in named forms alone ({names}), none of them called default")
    shortest_prompt(partial(render_turns, tokenizer, name=name))


def shortest_prompt(render: Render) -> str:
    """A prompt that shows how a template ends one: a user's turn, with a system turn before it where it wants one.

    Raises the `ModelError` of the first where `render` takes neither.
    """
    asked = Message(role="user", content="a")
    try:
        return render([asked])
    except ModelError as failure:
        try:
            return render([Message(role="system", content="b"), asked])
        except ModelError:
            raise failure from None


def template_switches(template: str | None) -> frozenset[str]:
    """Names that a chat template reads and that its user may set, such as `enable_thinking`; none without a template.

    A template that jinja cannot read has none either: it fails for itself when a prompt is laid out.
    """
    if template is None:
        return frozenset()
    # The tag is transformers' own, and marks for training what the assistant said.
    text = _GENERATION_TAG.sub("", template)
    try:
        read = meta.find_undeclared_variables(Environment(extensions=["jinja2.ext.loopcontrols"]).parse(text))
    except TemplateError:
        return frozenset()
    return frozenset(read - GIVEN)

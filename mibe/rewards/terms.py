"""The terms beside the answer: that a response is in the form asked for, and that it is not too long."""

from __future__ import annotations

import re
from dataclasses import replace

from mibe.task import Category, Example, Task, Value

CHARACTERS_A_TOKEN = 4
"""Of English text, about."""

_AROUND = re.compile(r"^[\s\"'*`]+|[\s\"'*`.]+$")


def in_form(task: Task, example: Example, answer: str, value: Value) -> bool:
    """Whether an answer is `value` as a worked example of the task would show it, and nothing beside.

    White space, case, quotes around it and a full stop behind it make no difference.
    """
    return _plain(answer) == _plain(as_asked_for(task, example, value))


def as_asked_for(task: Task, example: Example, value: Value) -> str:
    """A value that was read, as the prompt asks for it: what the task shows of a document with that target."""
    if task.category is Category.DIAGNOSIS:
        return "\n".join(f"{rank}. {name}" for rank, name in enumerate(value, start=1))
    several = isinstance(example.target, list | tuple) and isinstance(value, str)
    return task.prompt.answer(replace(example, target=[value] if several else value))


def _plain(text: str) -> str:
    return " ".join(_AROUND.sub("", text).split()).casefold()


def brevity(answer: str, tokens: int) -> float:
    """1 for an answer within a room of so many tokens, falling evenly to 0 at twice that.

    The soft punishment of overlong responses of Yu et al. 2025 ("DAPO", equation 13), of the answer behind a reasoning.
    """
    room = tokens * CHARACTERS_A_TOKEN
    return min(1.0, max(0.0, 2 - len(answer) / room))

"""Prompt styles: the paper's prompt as it is, or with one sentence that asks for a chain of thought first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mibe.task import Parser, Task, Value

STYLES = ("direct", "cot")

SENTENCE = (
    'Think step by step first, and write your answer, in the form asked for, after "Answer:" on a line of its own at '
    "the end."
)
"""What `cot` adds to the instruction; the line it speaks of is what is read."""

NEW_TOKENS = 1024
"""The least room for thought and answer together, where the user gives none."""

_ANSWER_LINE = re.compile(
    r"^[\s>*_#`-]*(?:(?:so|thus|hence|therefore),?\s+)?(?:(?:the|my)\s+)?(?:final\s+)?answer\b[*_`]*(?:\s*[:：]|\s+is\b:?)[*_`]*",
    re.I | re.M,
)
"""Where a line states the answer: as it was asked for, or nearly so."""


@dataclass(frozen=True)
class AnswerLine:
    """Reads by `parser` what follows the last line that states the answer; without such a line there is none.

    A thought that was cut off names answers too, and none of them is the model's.
    """

    parser: Parser

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> Value | None:
        """The answer, or None."""
        ends = [line.end() for line in _ANSWER_LINE.finditer(output)]
        return self.parser(output[ends[-1] :].strip(), choices=choices, inputs=inputs) if ends else None


def in_style(style: str, task: Task) -> Task:
    """The task asked in one of `STYLES`; its worked examples stay as they are."""
    if style == "direct":
        return task
    return replace(
        task,
        prompt=replace(task.prompt, instruction=f"{task.prompt.instruction} {SENTENCE}"),
        parser=AnswerLine(task.parser),
        max_new_tokens=max(NEW_TOKENS, task.max_new_tokens),
    )

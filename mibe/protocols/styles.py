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
    """Reads by `parser` what follows the last line that states the answer.

    Without such a line an answer counts where it is stated outright or is all there is, as `parser` reads an output
    that was cut off: thoughts name answers too, and none of them is the model's. A thought that was cut off has none.
    """

    parser: Parser

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> Value | None:
        """The answer, or None."""
        if (stated := _stated(output)) is not None:
            return self.parser(stated, choices=choices, inputs=inputs)
        strict: Parser | None = getattr(self.parser, "of_cut", None)
        return None if strict is None else strict(output, choices=choices, inputs=inputs)

    def of_cut(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> Value | None:
        """The same from an output that the length limit ended: what follows such a line, or None."""
        stated = _stated(output)
        return None if stated is None else self.parser(stated, choices=choices, inputs=inputs)


def _stated(output: str) -> str | None:
    """What follows the last line that states the answer; None without one."""
    ends = [line.end() for line in _ANSWER_LINE.finditer(output)]
    return output[ends[-1] :].strip() if ends else None


def in_style(style: str, task: Task) -> Task:
    """The task asked in one of `STYLES`; its worked examples stay as they are."""
    if style == "direct":
        return task
    return replace(
        task,
        prompt=replace(task.prompt, instruction=" ".join(filter(None, (task.prompt.instruction, SENTENCE)))),
        parser=AnswerLine(task.parser),
        max_new_tokens=max(NEW_TOKENS, task.max_new_tokens),
    )

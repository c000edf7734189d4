"""The document with a sentence that is true and has nothing to do with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from mibe.errors import UsageError
from mibe.task import Example, Task
from mibe.variation.closed import check_closed
from mibe.variation.dice import dice
from mibe.variation.reviewed import reviewed
from mibe.variation.sentences import before_last, starts
from mibe.variation.varied import Made, Version, Versions

COUNT = 4


def sentences() -> list[str]:
    """The sentences that can be added, all of them true."""
    found: list[str] = reviewed("noise")["distractors"]
    return found


NAME = "distractor"
"""As `--vary` names it."""


@dataclass(frozen=True, slots=True)
class Distractor:
    """The document, and `count` − 1 copies with a sentence before the last one of the text that has most."""

    count: int
    seed: int
    name: str = NAME

    def of(self, example: Example) -> Made:
        """The copies of one document, each with another sentence of which no long word stands in the document."""
        field = max(example.inputs, key=lambda name: len(starts(example.inputs[name])))
        said = _long_words(" ".join([*example.inputs.values(), *example.choices]))
        fitting = [sentence for sentence in sentences() if not _long_words(sentence) & said]
        drawn = dice(self.seed, example, self.name).sample(fitting, min(self.count - 1, len(fitting)))
        return Versions(
            "none",
            {
                str(number): Version(
                    replace(example, inputs={**example.inputs, field: before_last(example.inputs[field], sentence)})
                )
                for number, sentence in enumerate(drawn, start=1)
            },
        )


def _long_words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{5,}", text.lower()))


def make(task: Task, count: int | None, seed: int) -> Distractor:
    """The way, for a task whose answers are no part of the text."""
    check_closed(task, NAME)
    if count is not None and count > 1 + len(sentences()) // 2:
        raise UsageError(f"--vary distractor:{count} is out of range; at most {1 + len(sentences()) // 2}")
    return Distractor(COUNT if count is None else count, seed)

"""A task asked in other words: the released code's, a bare question, paraphrases of its instruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mibe import protocols
from mibe.errors import UsageError
from mibe.task import Category, Example, Task
from mibe.variation.reviewed import reviewed
from mibe.variation.varied import Made, Version, Versions, WayMaker

TABLE = "table"
"""The wording that a task has: that of the paper's table A2."""
RELEASED = "released"
BARE = "bare"

NAME = "wording"
"""As `--vary` names it."""


@dataclass(frozen=True, slots=True)
class Wording:
    """The same document under each of the `names`; `worded` makes the tasks that these name."""

    names: tuple[str, ...]
    name: str = NAME

    def of(self, example: Example) -> Made:
        """The document, once for each wording."""
        return Versions(TABLE, {name: Version(example) for name in self.names})


def maker(tasks: Mapping[str, Task]) -> WayMaker:
    """The way, for a task that has these wordings."""

    def make(task: Task, count: int | None, seed: int) -> Wording:
        known = [name for name in tasks if name != TABLE]
        if not known:
            raise UsageError(f"{task.name} has no other wording here; leave wording out of --vary for it")
        if count is not None and count > 1 + len(known):
            raise UsageError(f"{task.name} has {1 + len(known)} wordings here; --vary wording:{count} is out of range")
        return Wording(tuple(known[: None if count is None else count - 1]))

    return make


def worded(task: Task, *, own_answers: bool) -> Mapping[str, Task]:
    """Wording → the task asked so. Metrics stay the task's own, so that figures of two wordings can be compared.

    With `own_answers` a model is held to the task's own labels or letters, and wordings that ask for others are left
    out: the released code asks for an option's index.
    """
    found = {TABLE: task}
    if has_released(task) and not own_answers:
        released = protocols.apply("paper", task)
        found[RELEASED] = replace(task, prompt=released.prompt, parser=released.parser)
    if "{options}" in task.prompt.input:
        found[BARE] = replace(task, prompt=replace(task.prompt, instruction=reviewed("wordings")["bare"]))
    for number, text in enumerate(reviewed("wordings")["paraphrases"].get(task.name, ()), start=1):
        found[f"paraphrase-{number}"] = replace(task, prompt=replace(task.prompt, instruction=_filled(text, task)))
    return found


def _filled(text: str, task: Task) -> str:
    """The text with the task's labels; not by `format`, since some instructions hold braces of their own."""
    if not task.labels:
        return text
    named = {"{first}": task.labels[0], "{last}": task.labels[-1], "{labels}": "; ".join(task.labels)}
    for name, value in named.items():
        text = text.replace(name, value)
    return text


def has_released(task: Task) -> bool:
    """Whether the released code has another wording of the task, whose answers are the same labels or letters."""
    from mibe.protocols.paper import RULES

    return task.name in RULES and bool(task.labels) and task.category is not Category.NER

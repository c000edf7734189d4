"""The prompts of a finished run, rendered again: the sample log has their hashes alone.

What a model's template puts around the turns is learnt from the one whole prompt that the run record holds. A prompt
is given back only where its hash is that of the log, so it is never another than the model got.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from mibe.data import store
from mibe.errors import DataError, UsageError
from mibe.models.base import Message
from mibe.models.text import byte_count
from mibe.own.recorded import task_of
from mibe.prompting import layout, template_sha256
from mibe.results.log import Row
from mibe.run.plan import Plan, Prompts, plan_documents
from mibe.run.settings import Settings, settings_in
from mibe.task import Example, Task

CUT = "This prompt was shortened to fit the model's context window; the run keeps its hash alone."
DIFFERENT = "The prompt cannot be rendered again as the model got it (its hash differs)."
OTHER_DATA = "The prompt is not here: the data has another content than in the run."
NO_LAYOUT = "The prompt is not here: how the model lays out its turns cannot be told from the run record."


@dataclass(frozen=True)
class RecordedLayout:
    """Lays out turns as the model of a run did: `between` is the text before, between and after their contents."""

    name: str
    is_chat: bool
    between: tuple[str, ...]
    context_window: int | None = None

    def render(self, messages: Sequence[Message]) -> str:
        """The text, empty where there are more or fewer turns than the known prompt has."""
        if len(messages) + 1 != len(self.between):
            return ""
        contents = (message["content"] for message in messages)
        return self.between[0] + "".join(map("".join, zip(contents, self.between[1:], strict=True)))

    def count_tokens(self, text: str) -> int:
        """An upper bound: the number of bytes."""
        return byte_count(text)


@dataclass(frozen=True)
class Documents:
    """The documents of a run's task by id, and its prompts; `problem` says why a part of it is not here.

    `same_version`: the task's parser reads what it read in the run.
    """

    task: Task
    examples: Mapping[str, Example]
    builder: Prompts | None
    problem: str | None
    same_version: bool

    def prompt(self, row: Row) -> tuple[str | None, str]:
        """The prompt of a sample as the model got it and "", or None and why it is not here."""
        example = self.examples.get(row["id"])
        if self.builder is None or example is None:
            return None, self.problem or DIFFERENT
        rendered = self.builder.build(example)
        if rendered.sha256 == row.get("prompt_sha256"):
            return rendered.text, ""
        return None, CUT if row.get("cut") else DIFFERENT


def documents_of(name: str, record: Mapping[str, Any], rows: Sequence[Row]) -> Documents:
    """What the data here has of a run's task; of another content than the run had, it has nothing."""
    part = record["tasks"][name]
    # Which documents the run was about is in its log, a merged run's too.
    settings = Settings(**settings_in(record) | {"limit": None, "shard": None})
    task = task_of(record, name)
    same_version = task.version == part["version"]
    try:
        plan = plan_documents(task, settings)
        same = store.data_fingerprint(task.data_name, settings.split) == part["data"]["sha256"]
    except (DataError, UsageError) as error:
        return Documents(task, {}, None, f"The prompt is not here: {error}", same_version)
    if not same:
        return Documents(task, {}, None, OTHER_DATA, same_version)
    ids = {row["id"] for row in rows}
    examples = {example.id: example for example in _asked(plan, rows) if example.id in ids}
    builder = _builder(plan, record, part, examples, rows)
    return Documents(plan.task, examples, builder, None if builder else NO_LAYOUT, same_version)


def _asked(plan: Plan, rows: Sequence[Row]) -> Iterable[Example]:
    """The documents of the plan; versions are made of those alone that the rows are of."""
    if plan.variation is None:
        return plan.chosen
    of = {row.get("variant", {}).get("of", row["id"]) for row in rows}
    return chain.from_iterable(plan.variation.of(document) for document in plan.chosen if document.id in of)


def _builder(
    plan: Plan, record: Mapping[str, Any], part: Mapping[str, Any], examples: Mapping[str, Example], rows: Sequence[Row]
) -> Prompts | None:
    """What builds the run's prompts, or None where the wording has changed or the layout cannot be told."""
    shown, model = part.get("first_prompt"), record["model"]
    first = next((row["id"] for row in rows if row.get("prompt_sha256") == part.get("first_prompt_sha256")), "")
    if shown is None or first not in examples or template_sha256(plan.task.prompt) != part["prompt_template_sha256"]:
        return None

    def builder(between: tuple[str, ...]) -> Prompts:
        renderer = RecordedLayout(model["name"], model["is_chat"], between)
        return plan.prompts(renderer)

    document = examples[first]
    shots = builder(()).shots_for(document)
    between = _between(shown, layout(plan.task.prompt, shots, document, chat=model["is_chat"]))
    return None if between is None else builder(between)


def _between(text: str, messages: Sequence[Message]) -> tuple[str, ...] | None:
    """The text around the contents of the turns, or None where these do not stand in it one after the other."""
    pieces, position = [], 0
    for message in messages:
        at = text.find(message["content"], position)
        if at < 0:
            return None
        pieces.append(text[position:at])
        position = at + len(message["content"])
    return (*pieces, text[position:])

"""One document as a model gets it: prompt, target, and what the parser accepts."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from string import Formatter
from typing import Any

from mibe.data import store
from mibe.data.documents import check_split, examples
from mibe.data_use import check_egress
from mibe.errors import UsageError
from mibe.models import load_model
from mibe.models.base import Message, Model
from mibe.models.text import plain_text
from mibe.prompting.layout import layout
from mibe.registry import load_task
from mibe.task import Example, Task


class _PlainModel:
    """Renders plain text and nothing else: what `show` uses when no model is named."""

    name = "plain text"
    is_remote = False
    is_chat = False
    context_window = None

    def render(self, messages: list[Message]) -> str:
        return plain_text(messages)


def show(
    name: str,
    index: int,
    *,
    model: str | None,
    model_args: Mapping[str, str],
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
    **settings: Any,
) -> str:
    """One document: the prompt as the model gets it, the target, and what the parser accepts.

    Where the task's data is not here, the template takes the document's place.

    Raises `DataUseError` as `evaluate` does: a remote model may send a prompt away only to lay it out.
    """
    from mibe.run.asking import use_template
    from mibe.run.plan import as_asked, plan_task
    from mibe.run.settings import Settings, arguments_under

    chosen = Settings(**settings)
    task = load_task(name)
    plan = None
    if store.find(task.data_name) is not None:
        check_split(task, chosen.split)
        plan = plan_task(task, chosen)
    llm: Model = _PlainModel()  # type: ignore[assignment]
    if model:
        llm = load_model(model, arguments_under(chosen.protocol, model, model_args))
    use_template(llm, chosen)
    form = f"{llm.name}, {'chat template' if llm.is_chat else 'plain text'}" if model else llm.name
    if plan is None:
        return _template(as_asked(task, chosen), llm, form)
    plan = plan.for_model(llm, chosen)
    task = plan.task
    example = _at(task, chosen.split, index)
    check_egress(task, llm, allow_egress, agreement)
    builder = plan.prompts(llm)
    rendered = builder.build(example)
    notes = [note for note in ("cut to fit the context window" if rendered.cut else "", rendered.problem or "") if note]
    accepted = " | ".join(value if value == text else f"{value}. {text}" for value, text in task.candidates(example))
    return "\n".join(
        [
            f"task:    {task.name}, {chosen.split} {index}, id {example.id}",
            "; ".join([f"prompt:  {form}, {len(builder.shots_for(example))} shots", *notes]),
            _RULE,
            rendered.text,
            _RULE,
            f"target:  {json.dumps(example.target, ensure_ascii=False)}",
            f"accepts: {accepted or 'free text'}",
        ]
    )


_RULE = "─" * 80


def _template(task: Task, llm: Model, form: str) -> str:
    """The prompt with the names of its fields where a document's would stand, for a task whose data is not here."""
    fields = {field: "{" + field + "}" for _, field, *_ in Formatter().parse(task.prompt.input) if field}
    messages = layout(task.prompt, (), Example("", fields, ""), chat=llm.is_chat)
    return "\n".join(
        [
            f"task:    {task.name}; no document, since its data is not here. {store.how_to_get(task.data_name)}",
            f"prompt:  {form}, the template",
            _RULE,
            llm.render(messages),
            _RULE,
            f"accepts: {' | '.join(task.labels) or 'free text'}",
        ]
    )


def _at(task: Task, split: str, index: int) -> Example:
    number = -1
    for number, example in enumerate(examples(task, split)):
        if number == index:
            return example
    raise UsageError(f"--index {index} is out of range; {task.name} has {number + 1} documents in {split}, from 0")

"""One document as a model gets it: prompt, target, and what the parser accepts."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from mibe.data.documents import check_split, examples
from mibe.data_use import check_egress
from mibe.errors import UsageError
from mibe.models import load_model
from mibe.models.base import Message, Model
from mibe.models.text import plain_text
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

    Raises `DataUseError` as `evaluate` does: a remote model may send a prompt away only to lay it out.
    """
    from mibe.run.asking import use_template
    from mibe.run.plan import plan_task
    from mibe.run.settings import Settings, arguments_under

    chosen = Settings(**settings)
    check_split(load_task(name), chosen.split)
    plan = plan_task(load_task(name), chosen)
    task = plan.task
    example = _at(task, chosen.split, index)
    llm: Model = _PlainModel()  # type: ignore[assignment]
    if model:
        llm = load_model(model, arguments_under(chosen.protocol, model, model_args))
    use_template(llm, chosen)
    plan = plan.for_model(llm, chosen)
    check_egress(task, llm, allow_egress, agreement)
    builder = plan.prompts(llm)
    rendered = builder.build(example)
    form = f"{llm.name}, {'chat template' if llm.is_chat else 'plain text'}" if model else llm.name
    notes = [note for note in ("cut to fit the context window" if rendered.cut else "", rendered.problem or "") if note]
    accepted = " | ".join(value if value == text else f"{value}. {text}" for value, text in task.candidates(example))
    return "\n".join(
        [
            f"task:    {task.name}, {chosen.split} {index}, id {example.id}",
            "; ".join([f"prompt:  {form}, {len(builder.shots_for(example))} shots", *notes]),
            "─" * 80,
            rendered.text,
            "─" * 80,
            f"target:  {json.dumps(example.target, ensure_ascii=False)}",
            f"accepts: {accepted or 'free text'}",
        ]
    )


def _at(task: Task, split: str, index: int) -> Example:
    number = -1
    for number, example in enumerate(examples(task, split)):
        if number == index:
            return example
    raise UsageError(f"--index {index} is out of range; {task.name} has {number + 1} documents in {split}, from 0")

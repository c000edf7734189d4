"""What the command line tells of tasks, data and prompts, as text."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from mibe.data import store
from mibe.data_use import check_egress
from mibe.documents import check_split, examples
from mibe.errors import UsageError
from mibe.metrics.base import is_main
from mibe.models import load_model
from mibe.models.base import Message, Model
from mibe.prompting import PromptBuilder
from mibe.registry import list_groups, list_tasks, load_task
from mibe.suites import list_suites, load_suite
from mibe.task import Example, Task


def task_of_data(name: str) -> Task:
    """The task whose data folder has this name (mmlu_medical shares MMLU's)."""
    return load_task(name)


def describe(task: Task) -> dict[str, Any]:
    """One task as data: splits and counts are those of the prepared data, or of the official release."""
    here = store.find(task.data_name)
    manifest = store.load_manifest(task.data_name) if here else None
    counts = dict(manifest["counts"]) if manifest else ({} if here else dict(task.source.counts))
    return {
        "name": task.name,
        "title": task.title,
        "category": task.category.value,
        "splits": counts,
        "metrics": [name for metric in task.metrics for name in metric.names if is_main(name)],
        "headline": task.headline,
        "licence": task.source.licence,
        "access": task.access.level.value,
        "agreement": task.access.agreement,
        "data": "here" if here else "not here",
        "variant": manifest["variant"] if manifest else None,
        "obtain": None if here else f"{task.source.obtain} Then: mibe data prepare {task.data_name} --from PATH",
    }


def tasks_json() -> str:
    """All tasks, groups and suites as JSON."""
    return json.dumps(
        {
            "tasks": [describe(load_task(name)) for name in list_tasks()],
            "groups": list_groups(),
            "suites": [asdict(load_suite(name)) for name in list_suites()],
        },
        ensure_ascii=False,
        indent=1,
    )


def tasks_text() -> str:
    """All tasks, a block each, the groups and the suites."""
    blocks = []
    for name in list_tasks():
        d = describe(load_task(name))
        splits = ", ".join(f"{split} {count:,}" for split, count in d["splits"].items()) or "splits not counted"
        variant = f" ({d['variant']} of the data set)" if d["variant"] == "excerpt" else ""
        signed = f"; needs the {d['agreement']}" if d["agreement"] else ""
        lines = [
            f"{name}  {d['title']}",
            f"category: {d['category']}",
            f"splits:   {splits}{variant}",
            f"metrics:  {', '.join(sorted(d['metrics'], key=lambda metric: metric != d['headline']))}",
            f"licence:  {d['licence']} ({d['access']}{signed})",
            f"data:     {d['data'] if d['obtain'] is None else 'not here. ' + d['obtain']}",
        ]
        blocks.append("\n    ".join(lines))
    groups = "\n".join(f"{name:20} {', '.join(members)}" for name, members in list_groups().items())
    suites = "\n".join(f"{name:20} {load_suite(name).title}" for name in list_suites())
    listed = [f"{kind}\n{textwrap.indent(lines, '    ')}" for kind, lines in (("groups", groups), ("suites", suites))]
    return "\n\n".join([*blocks, *listed])


def data_text() -> str:
    """Every data set: where it is, or how to get it."""
    lines = [f"data folder: {store.data_dir()}", ""]
    for name in dict.fromkeys(load_task(task).data_name for task in list_tasks()):
        task = load_task(name)
        found = store.find(name)
        if found is None:
            lines.append(f"{name:12} not here. {task.source.obtain} Then: mibe data prepare {name} --from PATH")
        else:
            counts = ", ".join(f"{split} {count:,}" for split, count in describe(task)["splits"].items())
            lines.append(f"{name:12} {counts or 'no manifest'}  [{'in the package' if found.bundled else found.path}]")
    return "\n".join(lines)


def manifest_text(name: str, manifest: Mapping[str, Any]) -> str:
    """What was prepared, in two lines."""
    counts = ", ".join(f"{split} {count:,}" for split, count in manifest["counts"].items())
    return f"{name}: {counts} (variant {manifest['variant']})\nwritten to {store.data_dir() / name}"


def verify_text(name: str | None) -> tuple[str, bool]:
    """Findings for one data set or all that are here, and whether all are sound."""
    names = (
        [name] if name else [n for n in dict.fromkeys(load_task(t).data_name for t in list_tasks()) if store.find(n)]
    )
    lines, sound = [], True
    for each in names:
        task = task_of_data(each)
        findings = store.verify(task.data_name)
        sound = sound and not findings
        lines += [f"{each}: {finding}" for finding in findings] or [f"{each}: sound"]
    return "\n".join(lines), sound


class _PlainModel:
    """Renders plain text and nothing else: what `show` uses when no model is named."""

    name = "plain text"
    is_remote = False
    is_chat = False
    context_window = None

    def render(self, messages: list[Message]) -> str:
        return messages[-1]["content"]


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
    from mibe.planning import Settings, arguments_under, plan_task

    chosen = Settings(**settings)
    check_split(load_task(name), chosen.split)
    plan = plan_task(load_task(name), chosen)
    task = plan.task
    example = _at(task, chosen.split, index)
    llm: Model = _PlainModel()  # type: ignore[assignment]
    if model:
        llm = load_model(model, arguments_under(chosen.protocol, model, model_args))
    plan = plan.for_model(llm)
    check_egress(task, llm, allow_egress, agreement)
    builder = PromptBuilder(task, llm, plan.shots, max_new_tokens=plan.max_new_tokens)
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

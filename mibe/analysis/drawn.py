"""The draws of a finished run with what its model was asked: for whoever makes training data of answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mibe.data import store
from mibe.errors import RunError, UsageError
from mibe.models.base import Message
from mibe.models.identity import source_identity
from mibe.own.recorded import task_of
from mibe.prompting import layout, template_sha256
from mibe.results.digests import draw_of
from mibe.results.log import Row
from mibe.results.run import Run
from mibe.run.plan import Plan, plan_task
from mibe.run.settings import Settings, settings_in
from mibe.task import Example, Outcome, Task, Value

WHOLE = ("finished", "incomplete")
"""States of a run in which each of its documents was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnSample:
    """One draw of one document.

    `prediction` is what the run read of the answer. `messages` are the turns that were asked, before a long field was
    cut where `cut` says so. `text` is all that the model wrote, reasoning and its marks included, and `answer` what
    comes after the reasoning (None: it never ended). `ended` says that the model came to its end by itself, and not by
    a limit or a filter.
    """

    example: Example
    draw: int
    prediction: Value | None
    messages: tuple[Message, ...]
    text: str
    answer: str | None
    ended: bool
    cut: bool


@dataclass(frozen=True, slots=True)
class Drawn:
    """The draws of one task of a run; `task` is as it was asked, with the parser that reads such answers."""

    task: Task
    documents: dict[str, tuple[DrawnSample, ...]]
    """Document → its draws in their order, the documents in the order of the data. Draws that failed are not there."""


def answered_by(run: Run, folder: str) -> bool | None:
    """Whether a folder holds the model of a run's answers, or its adapters; None where a name alone is known of it."""
    identity = run.record["model"].get("identity") or {}
    parts = (identity.get(name) for name in ("pretrained", "peft", "delta"))
    known = [part for part in parts if isinstance(part, dict) and "sha256" in part]
    return source_identity(folder, None) in known if known else None


def drawn_samples(run: Run, name: str) -> Drawn:
    """The draws of a task of a run, zero-shot and generated, with the turns that were asked.

    Raises
    ------
    UsageError
        When the run has no such task, or asked with worked examples, in versions of the documents, or for likelihoods.
    RunError
        When the run is not finished or not whole, a row is none of the task, or data or prompt are not those of the run
        any more.
    DataError
        When the data is not here.
    """
    part = run.part(name)
    settings = _settings(run, name)
    if run.record["status"] not in WHOLE:
        raise RunError(f"{run.path} is not finished; run its command again first")
    rows = defaultdict(list)
    kept = 0
    for row in run.rows(name):
        kept += 1
        if row["outcome"] != Outcome.ERROR:
            rows[row["id"]].append(row)
    if kept != part["samples"]:
        raise RunError(
            f"{run.path} holds {kept:,} samples of {name}, and was finished with {part['samples']:,}; run its command "
            "again, or bring back the file"
        )
    plan = plan_task(task_of(run.record, name), settings)
    here = store.data_fingerprint(plan.task.data_name, settings.split)
    if here != part["data"]["sha256"] or template_sha256(plan.task.prompt) != part["prompt_template_sha256"]:
        raise RunError(
            f"{run.path}: the data or the prompt of {name} is another now than in the run; run its command again with "
            "another --output-dir"
        )
    chat = run.record["model"]["is_chat"]
    return Drawn(
        plan.task,
        {
            example.id: tuple(_samples(plan, example, rows[example.id], chat=chat))
            for example in plan.documents
            if example.id in rows
        },
    )


def _settings(run: Run, name: str) -> Settings:
    """Those of the run, over all documents. Raises `UsageError` for a run whose prompts have more in them."""
    settings = Settings(**settings_in(run.record))
    asked_otherwise = {
        "with worked examples (--num-fewshot)": run.part(name)["num_fewshot"] > 0,
        "in several versions (--vary)": settings.vary is not None,
        "for likelihoods, and generated no text (--scoring loglikelihood)": settings.scoring == "loglikelihood",
    }
    for how, is_so in asked_otherwise.items():
        if is_so:
            raise UsageError(f"{run.path} asked {name} {how}; take a run without that option")
    # Which documents the run was about is in its log.
    return replace(settings, limit=None, shard=None)


def _samples(plan: Plan, example: Example, rows: list[Row], *, chat: bool) -> Iterator[DrawnSample]:
    messages = layout(plan.task.prompt, (), example, chat=chat)
    for row in sorted(rows, key=draw_of):
        at = row.get("answer_at", 0)
        yield DrawnSample(
            example=example,
            draw=draw_of(row),
            prediction=row["prediction"],
            messages=messages,
            text=row["output"],
            answer=None if at is None else row["output"][at:],
            ended=row["finish_reason"] == "stop",
            cut=row["cut"],
        )

"""What a run's record says before the first response: settings, model, and each task's prompt, data and examples."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mibe.data import store
from mibe.models.base import Model
from mibe.models.keys import hidden
from mibe.own.recorded import recorded_tasks
from mibe.prompting import Rendered, stop_strings, template_sha256
from mibe.results import environment
from mibe.results.included import definition_of, files_of
from mibe.results.record import SCHEMA, Record, describe_model, now
from mibe.run.settings import BY_LIKELIHOOD
from mibe.run.varying import VariedDocuments
from mibe.terminal.version import VERSION
from mibe.variation import VERSION as VARIATION_VERSION
from mibe.variation import draw_of_shots

if TYPE_CHECKING:
    from mibe.data_use import Egress
    from mibe.run.plan import Plan, Prompts
    from mibe.run.settings import Settings

SHOWN_HEAD, SHOWN_TAIL = 1600, 600


def begin(
    model: Model,
    plans: Sequence[Plan],
    settings: Settings,
    fingerprint: str | None,
    suite: str | None,
    egress: Sequence[Egress],
    *,
    previous: Record | None,
) -> Record:
    """The record at the start of a run, or as it goes on: earlier sessions are kept in `sessions`."""
    command = shlex.join(hidden(word, os.environ) for word in sys.argv)
    session = {
        "started": now(),
        "process": os.getpid(),
        "command": command,
        "ended": None,
    }
    return {
        "schema": SCHEMA,
        "status": "running",
        "fingerprint": fingerprint,
        "mibe_version": VERSION,
        "protocol": settings.protocol,
        "suite": suite,
        "settings": asdict(settings),
        "model": describe_model(model),
        "egress": _together((previous or {}).get("egress", []), [asdict(leaving) for leaving in egress]),
        "task_names": [plan.task.name for plan in plans],
        **recorded_tasks({plan.task.name: plan.task for plan in plans}),
        **({"include": files} if (files := files_of(plan.task.name for plan in plans)) else {}),
        "sessions": [*(previous or {}).get("sessions", []), session],
        "versions": environment.versions(),
        "hardware": environment.hardware(),
        "memory": None,
        "tasks": {},
    }


def _together(earlier: list[Record], now_leaving: list[Record]) -> list[Record]:
    """What left in earlier sessions left for good: it stays in the record, each statement once."""
    return [*earlier, *(entry for entry in now_leaving if entry not in earlier)]


def describe_task(plan: Plan, builder: Prompts, first: Rendered) -> dict[str, Any]:
    """What was asked, on which data, with which worked examples. The text of credentialed notes stays out."""
    task, documents = plan.task, plan.documents
    shots = {} if plan.shots is None else _shot_ids(plan, builder)
    return {
        "title": task.title,
        "version": task.version,
        "headline": task.headline,
        "data": {
            "split": documents.split,
            "sha256": store.data_fingerprint(task.data_name, documents.split),
            "manifest": store.load_manifest(task.data_name),
            "documents": plan.chosen.count,
            "of": documents.total,
            "shard": plan.settings.shard,
        },
        **({"variation": _variation(documents)} if isinstance(documents, VariedDocuments) else {}),
        "prompt_template_sha256": template_sha256(task.prompt),
        **definition_of(task.name),
        "first_prompt_sha256": first.sha256,
        "first_prompt": None if plan.private else first.text,
        **({"rule": BY_LIKELIHOOD} if plan.settings.scoring == "loglikelihood" else {}),
        "max_new_tokens": plan.max_new_tokens,
        "thinking_budget": plan.thinking_budget,
        "stop": list(stop_strings(task.prompt, chat=builder.is_chat)),
        "num_fewshot": plan.settings.shots_of(task.name),
        "shots": shots,
        "shots_left_out_as_leaked": [] if plan.shots is None else list(plan.shots.leaked),
    }


def _variation(documents: VariedDocuments) -> dict[str, Any]:
    """How documents were varied: what was asked for, how many samples that makes, and what was left as it is."""
    return {
        "vary": documents.variation.spec,
        "version": VARIATION_VERSION,
        "samples": documents.count,
        "refused": {way: dict(reasons) for way, reasons in documents.refused.items()},
    }


def _shot_ids(plan: Plan, builder: Prompts) -> dict[str, list[str]]:
    """Ids of the worked examples by what they were matched on ("" when all documents share them)."""
    if plan.shots is None or plan.shots.per_document:
        return {}
    found: dict[str, list[str]] = {}
    for example in plan.documents:
        if draw_of_shots(example):
            # Its own examples stand in its row.
            continue
        key = plan.shots.matching(example)
        if key not in found:
            found[key] = [shot.id for shot in builder.shots_for(example)]
            if plan.task.shots_match is None:
                break
    return found


def show_prompt(task: str, text: str) -> str:
    """One rendered prompt for the first lines of a run; the middle of a very long one is left out."""
    if len(text) > SHOWN_HEAD + SHOWN_TAIL:
        left_out = len(text) - SHOWN_HEAD - SHOWN_TAIL
        text = f"{text[:SHOWN_HEAD]}\n… {left_out} characters (whole: mibe show) …\n{text[-SHOWN_TAIL:]}"
    return f"first prompt of {task}:\n" + "\n".join(f"  │ {line}" for line in text.splitlines())

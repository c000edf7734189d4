"""The run record: everything needed to run again and to trust the scores, as JSON (`docs/run-record.md`)."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mibe
from mibe.data import store
from mibe.models.base import Model
from mibe.prompting import PromptBuilder, Rendered, stop_strings, template_sha256
from mibe.results import environment
from mibe.results.log import latest_rows, sound_rows

if TYPE_CHECKING:
    from mibe.data_use import Egress
    from mibe.models.service import Service
    from mibe.planning import Plan, Settings

SCHEMA = 1
SHOWN_HEAD, SHOWN_TAIL = 1600, 600

Record = dict[str, Any]


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
    session = {"started": now(), "process": os.getpid(), "command": shlex.join(sys.argv), "ended": None}
    return {
        "schema": SCHEMA,
        "status": "running",
        "fingerprint": fingerprint,
        "mibe_version": mibe.__version__,
        "protocol": settings.protocol,
        "suite": suite,
        "settings": asdict(settings),
        "model": describe_model(model),
        "egress": _together((previous or {}).get("egress", []), [asdict(leaving) for leaving in egress]),
        "task_names": [plan.task.name for plan in plans],
        "sessions": [*(previous or {}).get("sessions", []), session],
        "versions": environment.versions(),
        "hardware": environment.hardware(),
        "memory": None,
        "tasks": {},
    }


def _together(earlier: list[Record], now_leaving: list[Record]) -> list[Record]:
    """What left in earlier sessions left for good: it stays in the record, each statement once."""
    return [*earlier, *(entry for entry in now_leaving if entry not in earlier)]


def end(record: Record, model: Model, status: str) -> None:
    """Close the current session of the record."""
    record["status"] = status
    record["sessions"][-1]["ended"] = now()
    record["memory"] = {
        "process_peak_bytes": environment.memory_peak(),
        "device_peak_bytes": model.device_memory_peak(),
    }


def note_services(record: Record, services: Sequence[Service]) -> None:
    """What the models behind APIs, judge included, have to tell of this session so far."""
    if services:
        record["sessions"][-1]["services"] = [{"name": service.name, **service.report()} for service in services]


def spent(folder: Path, record: Record) -> float:
    """USD that the run has cost so far: what its sessions noted, or, where one was killed, its samples."""
    noted = sum(service["cost_usd"] or 0.0 for session in record["sessions"] for service in session.get("services", ()))
    rows = (row for path in folder.glob("samples/*.jsonl") for row in sound_rows(path))
    return max(noted, sum(row.get("cost") or 0.0 for row in rows if not row.get("cached")))


def is_complete(record: Record) -> bool:
    """Whether every sample of every task has a response."""
    return all(task["outcomes"]["error"] == 0 for task in record["tasks"].values())


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe_model(model: Model) -> dict[str, Any]:
    """Name, identity and manner of the model."""
    return {
        "name": model.name,
        "identity": model.identity,
        "is_remote": model.is_remote,
        "is_chat": model.is_chat,
        "context_window": model.context_window,
    }


def describe_task(plan: Plan, builder: PromptBuilder, first: Rendered) -> dict[str, Any]:
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
            "documents": documents.count,
            "of": documents.total,
            "shard": plan.settings.shard,
        },
        "prompt_template_sha256": template_sha256(task.prompt),
        "first_prompt_sha256": first.sha256,
        "first_prompt": None if plan.private else first.text,
        "max_new_tokens": plan.max_new_tokens,
        "stop": list(stop_strings(task.prompt, chat=builder.is_chat)),
        "num_fewshot": plan.settings.shots_of(task.name),
        "shots": shots,
        "shots_left_out_as_leaked": [] if plan.shots is None else list(plan.shots.leaked),
    }


def _shot_ids(plan: Plan, builder: PromptBuilder) -> dict[str, list[str]]:
    """Ids of the worked examples by what they were matched on ("" when all documents share them)."""
    if plan.shots is None or plan.shots.per_document:
        return {}
    found: dict[str, list[str]] = {}
    for example in plan.documents:
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


def timing(samples: Path) -> dict[str, Any]:
    """Model time, tokens and rate over the responses that were generated, not taken from the cache.

    `usage` stands there for models behind an API: what their servers counted, and USD where the price is known.
    """
    seconds, prompt_tokens, new_tokens, generated, cached = 0.0, 0, 0, 0, 0
    metered = {"cached_tokens": 0, "reasoning_tokens": 0}
    cost: float | None = None
    is_metered = False
    for row in latest_rows(samples):
        if row.get("cached"):
            cached += 1
            continue
        generated += 1
        seconds += row.get("seconds") or 0.0
        prompt_tokens += row.get("prompt_tokens") or 0
        new_tokens += row.get("new_tokens") or 0
        is_metered |= "cached_tokens" in row or "cost" in row
        for name in metered:
            metered[name] += row.get(name) or 0
        if "cost" in row:
            cost = (cost or 0.0) + row["cost"]
    usage = metered | {"cost_usd": None if cost is None else round(cost, 6)}
    return {
        "generated": generated,
        "from_cache": cached,
        "model_seconds": round(seconds, 3),
        "prompt_tokens": prompt_tokens,
        "new_tokens": new_tokens,
        "tokens_per_second": round((prompt_tokens + new_tokens) / seconds, 1) if seconds else None,
        **({"usage": usage} if is_metered else {}),
    }

"""The run record: everything needed to run again and to trust the scores, as JSON (`docs/run-record.md`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mibe.models.base import Model
from mibe.models.reasoning import reasoning_of
from mibe.results import environment
from mibe.results.log import latest_rows, sound_rows
from mibe.results.variants import outcomes_asked

if TYPE_CHECKING:
    from mibe.models.service import Service

SCHEMA = 1

Record = dict[str, Any]


def end(record: Record, model: Model, status: str, reason: str | None = None) -> None:
    """Close the current session of the record; `reason` is what ended it early."""
    record["status"] = status
    record["sessions"][-1] |= {"ended": now(), **({} if reason is None else {"reason": reason})}
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


def has_answers(folder: Path) -> bool:
    """Whether a model answered anything in a run so far."""
    rows = (row for path in folder.glob("samples/*.jsonl") for row in sound_rows(path))
    return any(row.get("finish_reason") != "error" for row in rows)


def is_complete(record: Record) -> bool:
    """Whether every sample of every task has a response."""
    return all(outcomes_asked(task)["error"] == 0 for task in record["tasks"].values())


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
        "reasoning": None if (found := reasoning_of(model)) is None else asdict(found),
    }


def timing(samples: Path) -> dict[str, Any]:
    """Model time, tokens and rate over the responses that were generated, not taken from the cache.

    Where a model reasoned, `reasoning_tokens` are those of the new ones that are no answer.
    `usage` stands there for models behind an API: what their servers counted, and USD where the price is known.
    """
    seconds, prompt_tokens, new_tokens, generated, cached = 0.0, 0, 0, 0, 0
    metered = {"cached_tokens": 0, "reasoning_tokens": 0}
    cost: float | None = None
    is_metered = reasons = False
    for row in latest_rows(samples):
        if row.get("cached"):
            cached += 1
            continue
        generated += 1
        seconds += row.get("seconds") or 0.0
        prompt_tokens += row.get("prompt_tokens") or 0
        new_tokens += row.get("new_tokens") or 0
        is_metered |= "cached_tokens" in row or "cost" in row
        reasons |= row.get("reasoning_tokens") is not None
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
        **({"reasoning_tokens": metered["reasoning_tokens"]} if reasons else {}),
        "tokens_per_second": round((prompt_tokens + new_tokens) / seconds, 1) if seconds else None,
        **({"usage": usage} if is_metered else {}),
    }

"""The run record: everything needed to run again and to trust the scores, as JSON (`docs/run-record.md`)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mibe.meters import memory
from mibe.models.base import Model
from mibe.models.reasoning import reasoning_of
from mibe.models.size import size_of
from mibe.results.log import latest_rows, sound_rows
from mibe.results.variants import outcomes_asked

if TYPE_CHECKING:
    from mibe.meters.energy import Energy
    from mibe.models.service import Service

SCHEMA = 1

Record = dict[str, Any]


def end(record: Record, model: Model, energy: Energy, status: str, reason: str | None = None) -> None:
    """Close the current session of the record; `reason` is what ended it early, `energy` what it took."""
    record["status"] = status
    ended = {"ended": now(), "energy": asdict(energy)}
    record["sessions"][-1] |= {**ended, **({} if reason is None else {"reason": reason})}
    record["memory"] = memory_report(model)


def memory_report(model: Model) -> Record:
    """Peak memory of this process and those it started, and device by device, in bytes; None: not measured."""
    return {
        "process_peak_bytes": memory.process_peak(),
        "children_peak_bytes": memory.children_peak(),
        "device_peak_bytes": model.device_memory_peak(),
        "devices": [asdict(device) for device in memory.devices()],
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
    size = size_of(model)
    return {
        "name": model.name,
        "identity": model.identity,
        "is_remote": model.is_remote,
        "is_chat": model.is_chat,
        "context_window": model.context_window,
        **({} if size is None else {"size": asdict(size)}),
        "reasoning": None if (found := reasoning_of(model)) is None else asdict(found),
    }


def timing(samples: Path) -> dict[str, Any]:
    """Model time, tokens and rate over the responses that were generated, not taken from the cache.

    `counted` of them have their tokens counted: `positions` is how many tokens the model read to make these, and
    `attended` how many pairs of a token and one before it, or itself, that is (`mibe.cost.flops`). `latency` and
    `first_token` are percentiles of seconds, where the engine tells them. Where a model reasoned, `reasoning_tokens`
    are those of the new ones that are no answer. `usage` stands there for models behind an API: what their servers
    counted, and USD where the price is known, which are the most there can be of answers that no server counted;
    `priced` are those that it counted, and `priced_usd` what these cost.
    """
    seconds, prompt_tokens, new_tokens, generated, cached = 0.0, 0, 0, 0, 0
    counted = positions = attended = 0
    metered = {"cached_tokens": 0, "reasoning_tokens": 0}
    spans = {name: array("d") for name in SPANS}
    cost: float | None = None
    priced, priced_usd = 0, 0.0
    is_metered = reasons = is_partial = False
    for row in latest_rows(samples):
        if row.get("cached"):
            cached += 1
            continue
        generated += 1
        seconds += row.get("seconds") or 0.0
        prompt_tokens += row.get("prompt_tokens") or 0
        new_tokens += row.get("new_tokens") or 0
        if row.get("prompt_tokens") and row.get("new_tokens") is not None:
            read = tokens_read(row["prompt_tokens"], row["new_tokens"])
            counted, positions, attended = counted + 1, positions + read, attended + read * (read + 1) // 2
            if row.get("cost") is not None and not row.get("cost_is_bound"):
                priced, priced_usd = priced + 1, priced_usd + row["cost"]
        else:
            is_partial |= row.get("finish_reason") != "error"
        for name, found in spans.items():
            if row.get(name) is not None:
                found.append(row[name])
        is_metered |= "cached_tokens" in row or "cost" in row
        reasons |= row.get("reasoning_tokens") is not None
        for name in metered:
            metered[name] += row.get(name) or 0
        if "cost" in row:
            cost = (cost or 0.0) + row["cost"]
    usage = metered | {"cost_usd": None if cost is None else round(cost, 6)}
    if cost is not None:
        usage |= {"priced": priced, "priced_usd": round(priced_usd, 6)}
    return {
        "generated": generated,
        "from_cache": cached,
        "model_seconds": round(seconds, 3),
        "prompt_tokens": prompt_tokens,
        "new_tokens": new_tokens,
        "counted": counted,
        "positions": positions,
        "attended": attended,
        **({"reasoning_tokens": metered["reasoning_tokens"]} if reasons else {}),
        # The time of answers that nobody counted is not known apart.
        "tokens_per_second": round((prompt_tokens + new_tokens) / seconds, 1) if seconds and not is_partial else None,
        **{name: percentiles(found) for name, found in spans.items() if found},
        **({"usage": usage} if is_metered else {}),
    }


SPANS = ("latency", "first_token")
"""Fields of a row that are seconds of one response alone: from its beginning to its end, and to its first token."""


def tokens_read(prompt_tokens: int, new_tokens: int) -> int:
    """Tokens that a model reads for one answer: the prompt, and all that it wrote but the last, which nobody reads."""
    return prompt_tokens + max(0, new_tokens - 1)


def percentiles(seconds: Sequence[float]) -> dict[str, Any]:
    """Median and 95th percentile, by linear interpolation, and of how many."""
    from mibe.metrics.arrays import np

    p50, p95 = np.percentile(np.asarray(seconds, dtype=np.float64), (50, 95)).tolist()
    return {"p50": p50, "p95": p95, "n": len(seconds)}

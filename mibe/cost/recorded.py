"""What a run's record tells of its cost. Runs from before a figure was recorded have none: it was not measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from mibe.cost.figures import SERVED, Cost, Level, Memory
from mibe.cost.flops import flops
from mibe.meters.memory import Device
from mibe.models.pricing import Price
from mibe.models.size import Size

K = TypeVar("K")

OLDER = "the record of the run does not say"
UNTOLD = "neither the engine nor the record tells"
OF_SEVERAL = "told by task: --task NAME"


def cost_of(record: Mapping[str, Any], tasks: Sequence[str] | None = None) -> Cost:
    """The cost of a run, over all of its tasks or some: per document the mean, latencies where it is of one task.

    A document is one answer that the model gave in the run: what came from the cache cost nothing and is not counted.
    """
    names = list(record["tasks"]) if tasks is None else tasks
    timings = [timing for name in names if (timing := record["tasks"][name].get("timing"))]
    size = size_in(record)
    generated = sum(timing.get("generated", 0) for timing in timings)
    counted = sum(map(_counted, timings))
    has_answers = generated > 0
    is_served = _is_served(record)
    joules, why_no_energy = (None, SERVED) if is_served else _energy(record["sessions"])
    # Of a session the energy is known, not of one of its tasks.
    is_whole = set(names) == set(record["tasks"])
    usd = _sum(_usd(timing) for timing in timings if timing.get("generated"))
    operations = _flops(size, timings)
    why = {
        "load": SERVED if is_served else "the model was handed over, or the record does not say",
        "memory": SERVED if is_served else OLDER,
        "latency": OF_SEVERAL if len(timings) > 1 else UNTOLD,
        "first token": OF_SEVERAL if len(timings) > 1 else UNTOLD,
        "flops": "the size of the model is not known" if size is None else "the tokens are not counted",
        "energy": why_no_energy if is_whole else "known of the whole run alone",
        "usd": "the model is not behind an API, or its price is not known",
    }
    return Cost(
        name=str(record["model"]["name"]),
        machine=SERVED if is_served else machine_of(record),
        load_seconds=None if is_served else _loading(record).get("seconds"),
        memory=Memory() if is_served else memory_in(record),
        weights=None if size is None else size.bytes,
        levels=(_level(timings),) if has_answers else (),
        documents=generated,
        prompt_tokens=_mean([timing["prompt_tokens"] for timing in timings], counted),
        new_tokens=_mean([timing["new_tokens"] for timing in timings], counted),
        flops=None if operations is None else operations / counted,
        joules=joules / generated if joules is not None and is_whole and has_answers else None,
        usd=usd / generated if usd is not None and has_answers else None,
        price=_price(record),
        why=why,
    )


def _known(kind: type[K], told: Mapping[str, Any]) -> K:
    """What a record tells, without fields that only a later release knows."""
    names = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in told.items() if name in names})


def _is_served(record: Mapping[str, Any]) -> bool:
    """Whether the model was behind an API: another process had the memory, the chips and the loading."""
    services = (service["name"] for session in record["sessions"] for service in session.get("services", ()))
    return bool(record["model"].get("is_remote")) or record["model"]["name"] in services


def size_in(record: Mapping[str, Any]) -> Size | None:
    """The size of a run's model; None where the record has none."""
    found = record["model"].get("size")
    return None if found is None else _known(Size, found)


def memory_in(record: Mapping[str, Any]) -> Memory:
    """Peak memory of a run: of a merged one that of its largest part, for each part had a machine of its own."""
    parts = [_memory(part, _loading(part)) for part in record.get("parts") or ()]
    return max(parts, key=lambda memory: memory.peak or 0) if parts else _memory(record, _loading(record))


def machine_of(record: Mapping[str, Any]) -> str:
    """Processor and accelerators that a run was made on; of a merged run those of its first part."""
    hardware = record.get("hardware") or next((part.get("hardware") for part in record.get("parts") or ()), None) or {}
    cores = f"{hardware['cpu']}, {hardware.get('cores')} cores" if hardware.get("cpu") else ""
    return ", ".join(filter(None, [cores, *hardware.get("accelerators", [])]))


def _memory(told: Mapping[str, Any], loading: Mapping[str, Any]) -> Memory:
    found = told.get("memory") or {}
    return Memory(
        process_peak=found.get("process_peak_bytes"),
        before=loading.get("before_bytes"),
        children_peak=found.get("children_peak_bytes"),
        device_peak=found.get("device_peak_bytes"),
        devices=tuple(_known(Device, device) for device in found.get("devices", ())),
    )


def _loading(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the model was loaded in the last session that did."""
    of_parts = (session for part in told.get("parts") or () for session in part["sessions"])
    found = [session["loading"] for session in (*of_parts, *told["sessions"]) if "loading" in session]
    return found[-1] if found else {}


def _level(timings: Sequence[Mapping[str, Any]]) -> Level:
    """How fast a run was. Percentiles of several tasks are not those of all: they are given of one task alone."""
    generated = sum(timing.get("generated", 0) for timing in timings)
    seconds = sum(timing["model_seconds"] for timing in timings)
    counted = sum(map(_counted, timings))
    spans = timings[0] if len(timings) == 1 else {}
    latency, first = spans.get("latency") or {}, spans.get("first_token") or {}
    is_counted = counted > 0 and seconds > 0
    return Level(
        at_once=None,
        documents=generated,
        seconds=seconds / generated if seconds else None,
        latency_p50=latency.get("p50"),
        latency_p95=latency.get("p95"),
        first_token_p50=first.get("p50"),
        first_token_p95=first.get("p95"),
        read_per_second=sum(timing["prompt_tokens"] for timing in timings) / seconds if is_counted else None,
        written_per_second=sum(timing["new_tokens"] for timing in timings) / seconds if is_counted else None,
    )


def _counted(timing: Mapping[str, Any]) -> int:
    """Answers whose tokens were counted. An older record does not say: none or all of them are, and no prompt is
    empty."""
    found: int = timing.get("counted", timing.get("generated", 0) if timing["prompt_tokens"] else 0)
    return found


def _flops(size: Size | None, timings: Sequence[Mapping[str, Any]]) -> float | None:
    if size is None or not any(timing.get("counted") for timing in timings):
        return None
    return flops(
        size,
        positions=sum(timing.get("positions", 0) for timing in timings),
        attended=sum(timing.get("attended", 0) for timing in timings),
        new_tokens=sum(timing["new_tokens"] for timing in timings),
    )


def _energy(sessions: Sequence[Mapping[str, Any]]) -> tuple[float | None, str]:
    """Joules of all sessions, and why there are none where one of them has none."""
    told = [session.get("energy") for session in sessions]
    if not told or any(energy is None for energy in told):
        return None, OLDER
    if silent := next((energy for energy in told if energy and not energy["joules"]), None):
        return None, str(silent["why"])
    return sum(joules for energy in told if energy for joules in energy["joules"].values()), ""


def _usd(timing: Mapping[str, Any]) -> float | None:
    found: float | None = (timing.get("usage") or {}).get("cost_usd")
    return found


def _price(record: Mapping[str, Any]) -> Price | None:
    """The price at which a run's model was asked; None where none was known."""
    told = [service for session in record["sessions"] for service in session.get("services", ())]
    prices = [
        service["price"] for service in told if service["name"] == record["model"]["name"] and service.get("price")
    ]
    return _known(Price, prices[-1]) if prices else None


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum, None where there is nothing, or one of them is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if found and len(known) == len(found) else None


def _mean(totals: Sequence[int], count: int) -> float | None:
    return sum(totals) / count if count else None

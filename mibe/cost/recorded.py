"""What a run's record tells of its cost. Runs from before a figure was recorded have none: it was not measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from mibe.cost.figures import NO_PRICE, NOT_COUNTED, SERVED, Cost, Level, Memory
from mibe.cost.flops import flops
from mibe.meters.memory import Device
from mibe.models.pricing import Price
from mibe.models.size import Size
from mibe.results.variants import outcomes_asked

K = TypeVar("K")

OLDER = "the record of the run does not say"
UNTOLD = "neither the engine nor the record tells"
OF_SEVERAL = "told by task: --task NAME"
CACHED = "all answers came from the cache: the model was asked nothing"
UNCOUNTED = "the record does not tell apart what was counted and the most that the rest can have cost"
TOGETHER = "its parts may have run on one machine at one time, whose chips each of them counted"


def cost_of(record: Mapping[str, Any], tasks: Sequence[str] | None = None) -> Cost:
    """The cost of a run, over all of its tasks or some: per document the mean, latencies where it is of one task.

    A document is one answer that the model gave in the run: what came from the cache cost nothing and is not counted,
    nor is a prompt that failed.
    """
    names = list(record["tasks"]) if tasks is None else tasks
    parts = [record["tasks"][name] for name in names if record["tasks"][name].get("timing")]
    timings = [part["timing"] for part in parts]
    size = size_in(record)
    counted = sum(map(_counted, timings))
    answers = sum(map(_answers, parts))
    has_answers = answers > 0
    is_served = _is_served(record)
    joules, why_no_energy = (None, SERVED) if is_served else _energy(record)
    # Of a session the energy is known, not of one of its tasks.
    is_whole = set(names) == set(record["tasks"])
    is_cached = _is_cached(record)
    priced, usd, why_no_usd = _usd([part for part in parts if _answers(part)])
    operations = _flops(size, timings)
    why = {
        "load": SERVED if is_served else "the model was handed over, or the record does not say",
        "memory": SERVED if is_served else CACHED if is_cached else OLDER,
        "latency": OF_SEVERAL if len(timings) > 1 else UNTOLD,
        "first token": OF_SEVERAL if len(timings) > 1 else UNTOLD,
        "flops": "the size of the model is not known" if size is None else "the tokens are not counted",
        "energy": why_no_energy if is_whole else "known of the whole run alone",
        "usd": why_no_usd,
    }
    return Cost(
        name=str(record["model"]["name"]),
        machine=SERVED if is_served else machine_of(record),
        load_seconds=None if is_served else _loading(record).get("seconds"),
        memory=Memory() if is_served or is_cached else memory_in(record),
        weights=None if size is None else size.bytes,
        levels=(_level(timings, answers),) if has_answers else (),
        documents=answers,
        counted=counted,
        priced=priced,
        prompt_tokens=_mean([timing["prompt_tokens"] for timing in timings], counted),
        new_tokens=_mean([timing["new_tokens"] for timing in timings], counted),
        flops=None if operations is None else operations / counted,
        joules=joules / answers if joules is not None and is_whole and has_answers else None,
        usd=usd / priced if usd is not None and priced else None,
        price=_price(record),
        why=why,
    )


def _known(kind: type[K], told: Mapping[str, Any]) -> K:
    """What a record tells, without fields that only a later release knows."""
    names = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in told.items() if name in names})


def _is_served(record: Mapping[str, Any]) -> bool:
    """Whether the model was behind an API: another process had the memory, the chips and the loading."""
    services = (service["name"] for session in _sessions(record) for service in session.get("services", ()))
    return bool(record["model"].get("is_remote")) or record["model"]["name"] in services


def _is_cached(record: Mapping[str, Any]) -> bool:
    """Whether a run took every answer from the cache, so that its process shows nothing of a model at work."""
    timings = [part.get("timing") or {} for part in record["tasks"].values()]
    return any(timing.get("from_cache") for timing in timings) and not any(
        timing.get("generated") for timing in timings
    )


def size_in(record: Mapping[str, Any]) -> Size | None:
    """The size of a run's model; None where the record has none."""
    found = record["model"].get("size")
    return None if found is None else _known(Size, found)


def memory_in(record: Mapping[str, Any]) -> Memory:
    """Peak memory of a run: of a merged one that of its largest part, for each part had a machine of its own."""
    parts = [_memory(part, _loading(part)) for part in record.get("parts") or ()]
    return max(parts, key=lambda memory: memory.peak or 0) if parts else _memory(record, _loading(record))


def machine_of(record: Mapping[str, Any]) -> str:
    """Processor and accelerators that a run was made on; of a merged run those of each part that had others."""
    made_on = [record.get("hardware"), *(part.get("hardware") for part in record.get("parts") or ())]
    return "; ".join(dict.fromkeys(filter(None, (_machine(hardware or {}) for hardware in made_on))))


def _machine(hardware: Mapping[str, Any]) -> str:
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


def _sessions(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The sessions in which the model was asked: of a merged run those of its parts, for its own asked nothing."""
    parts = told.get("parts") or ()
    return [session for part in parts for session in part["sessions"]] if parts else list(told["sessions"])


def _loading(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the model was loaded in the last session that did."""
    found = [session["loading"] for session in _sessions(told) if "loading" in session]
    return found[-1] if found else {}


def _answers(part: Mapping[str, Any]) -> int:
    """Answers that the model gave to a task in the run; a prompt that failed has none."""
    timing = part["timing"]
    failed = outcomes_asked(part)["error"] if "outcomes" in part else 0
    found: int = max(timing.get("generated", 0) - failed, timing.get("counted", 0))
    return found


def _level(timings: Sequence[Mapping[str, Any]], answers: int) -> Level:
    """How fast a run was. Percentiles of several tasks are not those of all: they are given of one task alone.

    Tokens a second are those of all answers, for the time of some is not known apart.
    """
    seconds = sum(timing["model_seconds"] for timing in timings)
    counted = sum(map(_counted, timings))
    spans = timings[0] if len(timings) == 1 else {}
    latency, first = spans.get("latency") or {}, spans.get("first_token") or {}
    is_counted = 0 < answers <= counted and seconds > 0
    return Level(
        at_once=None,
        documents=answers,
        seconds=seconds / answers if seconds else None,
        latencies=latency.get("n", 0),
        first_tokens=first.get("n", 0),
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


def _energy(record: Mapping[str, Any]) -> tuple[float | None, str]:
    """Joules of all sessions, and why there are none where one of them has none."""
    told = [session.get("energy") for session in _sessions(record)]
    if not told or any(energy is None for energy in told):
        return None, OLDER
    if silent := next((energy for energy in told if energy and not energy["joules"]), None):
        return None, str(silent["why"])
    if _is_twice(record.get("parts") or ()):
        return None, TOGETHER
    return sum(joules for energy in told if energy for joules in energy["joules"].values()), ""


def _is_twice(parts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether parts on machines that look the same ran at the same time: these may be one machine."""
    spans = [
        (session["started"], session.get("ended") or session["started"], number, json.dumps(part["hardware"]))
        for number, part in enumerate(parts)
        for session in part["sessions"]
    ]
    return any(
        one[2] < other[2] and one[3] == other[3] and one[0] < other[1] and other[0] < one[1]
        for one in spans
        for other in spans
    )


def _usd(parts: Sequence[Mapping[str, Any]]) -> tuple[int, float | None, str]:
    """How many answers a server counted at a known price, USD of these, and why there are none.

    What a run from before `priced` notes holds the most that uncounted answers can have cost, if there are such.
    """
    usages = [part["timing"].get("usage") or {} for part in parts]
    if not usages or any(usage.get("cost_usd") is None for usage in usages):
        return 0, None, NO_PRICE
    found = []
    for part, usage in zip(parts, usages, strict=True):
        answers = _answers(part)
        if "priced" in usage:
            found.append((usage["priced"], usage["priced_usd"]))
        elif _counted(part["timing"]) < answers:
            return 0, None, UNCOUNTED
        else:
            found.append((answers, usage["cost_usd"]))
    if not all(count for count, _ in found):
        return 0, None, NOT_COUNTED
    return sum(count for count, _ in found), sum(usd for _, usd in found), ""


def _price(record: Mapping[str, Any]) -> Price | None:
    """The price at which a run's model was asked; None where none was known."""
    told = [service for session in _sessions(record) for service in session.get("services", ())]
    prices = [
        service["price"] for service in told if service["name"] == record["model"]["name"] and service.get("price")
    ]
    return _known(Price, prices[-1]) if prices else None


def _mean(totals: Sequence[int], count: int) -> float | None:
    return sum(totals) / count if count else None

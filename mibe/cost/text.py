"""A cost as a table, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from mibe.cost.difference import Line
from mibe.cost.figures import NOT_MEASURED, Cost, Level, peak_of
from mibe.cost.flops import FORMULA
from mibe.forecast.hardware import GIB
from mibe.meters.memory import Device
from mibe.published.memory import published_memory

FORMATS = ("text", "markdown", "json")
HEADER = ("figure", "value", "of")
PLAN_HEADER = ("a document", "planned", "measured", "difference")

Shown = tuple[str, str, str]
"""Name, value with its unit, and what it is of or why it was not measured."""


def render(costs: Sequence[tuple[Cost, Sequence[Line]]], form: str) -> str:
    """Costs in one of `FORMATS`, each with its difference to a plan where there is one."""
    if form == "json":
        found = [asdict(cost) | {"plan": [_line_data(line) for line in lines]} for cost, lines in costs]
        published = [asdict(each) for each in published_memory()]
        return json.dumps({"costs": found, "published": published}, ensure_ascii=False, indent=1)
    parts = [part for cost, lines in costs for part in _tables(cost, lines, "simple" if form == "text" else "github")]
    bullet = "- " if form == "markdown" else ""
    notes = [f"operations: {FORMULA}"] if any(cost.flops is not None for cost, _ in costs) else []
    notes += [f"published: {each.text}. {' '.join(each.doubts)}" for each in published_memory()]
    return "\n\n".join([*parts, "\n".join(bullet + note for note in notes)])


def _tables(cost: Cost, lines: Sequence[Line], style: str) -> Iterator[str]:
    from tabulate import tabulate

    yield f"{cost.name}: {cost.machine}"
    yield tabulate(list(rows(cost)), headers=HEADER, tablefmt=style, disable_numparse=True)
    if lines:
        align = ("left", "right", "right", "right")
        shown = [_line(line) for line in lines]
        yield tabulate(shown, headers=PLAN_HEADER, tablefmt=style, disable_numparse=True, colalign=align)


def _line_data(line: Line) -> dict[str, Any]:
    return asdict(line) | {"difference": line.difference}


def rows(cost: Cost) -> Iterator[Shown]:
    """Every figure."""
    why = cost.why
    yield _row("load time", seconds(cost.load_seconds), "with the import of its libraries", why.get("load"))
    yield from memory_rows(cost)
    for level in cost.levels:
        yield from _level(level, cost)
    of = _mean_of(cost.counted, cost.documents, "are counted")
    yield _row("tokens read", number(cost.prompt_tokens), of, "the tokens are not counted")
    yield _row("tokens written", number(cost.new_tokens), of, "the tokens are not counted")
    yield _row("operations", flops(cost.flops), of, why.get("flops"))
    yield _row("energy", joules(cost.joules), "a document; the whole chips, whoever uses them", why.get("energy"))
    yield _row("money", usd(cost.usd), _mean_of(cost.priced, cost.documents, "the server counted"), why.get("usd"))


def _mean_of(known: int, documents: int, why: str) -> str:
    """Of how many documents a mean is, and of how many they are known."""
    found = f"a document, mean of {known:,}"
    return found if known == documents else f"{found} that {why}, of {documents:,}"


def memory_rows(cost: Cost) -> Iterator[Shown]:
    """Memory, process by process and device by device."""
    memory, why = cost.memory, cost.why.get("memory")
    before = "" if memory.before is None else f"; {gib(memory.before)} of it before loading"
    yield _row("peak memory of the process", gib(memory.process_peak), f"resident, since its start{before}", why)
    if memory.children_peak is not None:
        yield _row("peak memory of its children", gib(memory.children_peak), "sum of their peaks, an upper bound", "")
    for device in memory.devices:
        yield _row(f"peak memory of {device.name}", gib(peak_of(device)), _of_device(device), "its process is not seen")
    if not memory.devices and memory.device_peak is not None:
        yield _row("peak memory of devices", gib(memory.device_peak), "all together", "")
    yield _row("weights", gib(cost.weights), "bytes of the weights as they are loaded", cost.why.get("flops"))


def _of_device(device: Device) -> str:
    others = "others not told apart" if device.others_bytes is None else f"others use {gib(device.others_bytes)}"
    allocated = device.allocated_peak_bytes
    tensors = "" if allocated is None else f"; {gib(allocated)} in tensors"
    return f"of {gib(device.total_bytes)}{tensors}; {others}"


def _level(level: Level, cost: Cost) -> Iterator[Shown]:
    why = cost.why
    of = "as the run had them under way" if level.at_once is None else f"{level.at_once} at once"
    latency = both(level.latency_p50, level.latency_p95)
    yield _row("latency, p50 / p95", latency, f"{of}, {level.latencies:,} documents", why.get("latency"))
    first = both(level.first_token_p50, level.first_token_p95)
    of_first = f"{of}, {level.first_tokens:,} documents"
    yield _row("time to first token, p50 / p95", first, of_first, why.get("first token"))
    rates = (level.read_per_second, level.written_per_second)
    shown = None if None in rates else f"{rates[0]:,.1f} / {rates[1]:,.1f}"
    some = f"the tokens of {cost.counted:,} answers of {cost.documents:,} are counted, the time of all"
    uncounted = some if 0 < cost.counted < cost.documents else "the tokens are not counted"
    yield _row("tokens a second, read / written", shown, f"{of}, over all of the time", uncounted)


def _row(name: str, value: str | None, of: str, why: str | None) -> Shown:
    return (name, value, of) if value is not None else (name, NOT_MEASURED, why or "")


def _line(line: Line) -> tuple[str, str, str, str]:
    found = line.difference
    signed = "–" if found is None else f"{found:+,.4g}".replace("-", "−")
    planned = "not planned" if line.planned is None else f"{line.planned:,.4g}"
    return line.figure, planned, NOT_MEASURED if line.measured is None else f"{line.measured:,.4g}", signed


def gib(count: float | None) -> str | None:
    """Bytes in GiB (2^30 bytes)."""
    return None if count is None else f"{count / GIB:.2f} GiB"


def seconds(value: float | None) -> str | None:
    """A duration to three digits, in seconds or milliseconds."""
    if value is None:
        return None
    factor, unit = _unit(value)
    return f"{factor * value:.3g} {unit}"


def both(first: float | None, second: float | None) -> str | None:
    """Two durations, in the unit of the second, which is the longer one."""
    if first is None or second is None:
        return None
    factor, unit = _unit(second)
    return f"{factor * first:.3g} / {factor * second:.3g} {unit}"


def _unit(value: float) -> tuple[float, str]:
    return (1.0, "s") if value >= 1 else (1000.0, "ms")


def number(value: float | None) -> str | None:
    """A mean of tokens."""
    return None if value is None else f"{value:,.1f}"


def flops(value: float | None) -> str | None:
    """Floating-point operations, by thousands (TFLOP are 10^12)."""
    if value is None:
        return None
    for unit, size in (("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e6:.3g} MFLOP"


def joules(value: float | None) -> str | None:
    """Energy."""
    return None if value is None else f"{value:,.3g} J"


def usd(value: float | None) -> str | None:
    """Money, of a document and of a thousand."""
    return None if value is None else f"{value:.3g} USD ({1000 * value:,.2f} a thousand)"

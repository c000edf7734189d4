"""A forecast as a table, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from mibe.forecast.amounts import Absent, Cost, Tally
from mibe.forecast.hardware import GIB, at_once
from mibe.forecast.prompts import Forecast
from mibe.terminal.progress import duration

FORMATS = ("text", "markdown", "json")


def render(found: Forecast, form: str) -> str:
    """The forecast in one of `FORMATS`."""
    if form == "json":
        return json.dumps(asdict(found) | {"copies": found.fleet.copies, "seconds": found.seconds}, indent=1)
    from tabulate import tabulate

    rows = [_row(found, each, price) for each, price in zip(found.tallies, found.costs, strict=True)]
    rows.append(_total(found))
    rows += [_absent_row(each) for each in found.absent]
    style = "simple" if form == "text" else "github"
    align = ("left", *["right"] * (len(HEADER) - 1))
    table = tabulate(rows, headers=HEADER, tablefmt=style, disable_numparse=True, colalign=align)
    lines = [*_memory(found), *found.assumptions, *_left_out(found)]
    bullet = "- " if form == "markdown" else ""
    return "\n".join([table, "", *(bullet + line for line in lines)])


HEADER = (
    "task", "documents", "prompt tokens", "of these shared", "output at most", "output expected", "GPU hours",
    "wall time", "samples", "cache",
)  # fmt: skip


def _row(found: Forecast, counts: Tally, price: Cost) -> list[str]:
    return [
        counts.task,
        f"{counts.documents:,}",
        f"{counts.prompt_tokens:,}",
        f"{counts.shared_tokens:,}",
        f"{counts.most_new_tokens:,}",
        f"{price.new_tokens:,.0f}",
        *_time(found, price.seconds),
        size(price.sample_bytes),
        size(price.cache_bytes),
    ]


def _absent_row(task: Absent) -> list[str]:
    count = task.documents
    known = ["?", "?", "?"] if count is None else [f"{count:,}", "?", f"{task.most_new_tokens:,}"]
    return [f"{task.task} (not here)", known[0], "?", *known[1:], *["?"] * (len(HEADER) - 5)]


def _left_out(found: Forecast) -> Iterable[str]:
    if found.absent:
        names = ", ".join(each.task for each in found.absent)
        yield f"not in the total, since their data is not here (mibe data list says how to get it): {names}"


def _total(found: Forecast) -> list[str]:
    tallies, costs = found.tallies, found.costs
    return [
        "total",
        f"{sum(each.documents for each in tallies):,}",
        f"{sum(each.prompt_tokens for each in tallies):,}",
        f"{sum(each.shared_tokens for each in tallies):,}",
        f"{sum(each.most_new_tokens for each in tallies):,}",
        f"{sum(each.new_tokens for each in costs):,.0f}",
        *_time(found, found.seconds),
        size(sum(each.sample_bytes for each in costs)),
        size(sum(each.cache_bytes for each in costs)),
    ]


def _time(found: Forecast, seconds: float | None) -> tuple[str, str]:
    """GPU hours, and wall time with all copies at work."""
    if seconds is None:
        return "?", "?"
    return f"{seconds * found.fleet.per_copy / 3600:.2f}", duration(seconds / found.fleet.copies)


def _memory(found: Forecast) -> Iterable[str]:
    fleet = found.fleet
    shards = f" (--shard 1/{fleet.copies} to {fleet.copies}/{fleet.copies})" if fleet.copies > 1 else ""
    yield f"GPUs: {fleet.gpus}; {fleet.per_copy} for a copy of the model, so copies: {fleet.copies}{shards}"
    if found.shape is None:
        yield "memory: give --model-shape to have it computed"
        return
    yield f"weights: {found.shape.weight_bytes(found.dtype) / GIB:.1f} GiB in {found.dtype}"
    if not found.shape.cache_bytes(found.dtype):
        yield "keys and values: give layers, kv_heads and head_dim in --model-shape to have them computed"
        return
    longest = max(each.longest for each in found.tallies)
    tokens = sum(each.prompt_tokens for each in found.tallies) + sum(each.new_tokens for each in found.costs)
    mean = tokens / sum(each.samples for each in found.tallies)
    each = found.shape.cache_bytes(found.dtype)
    yield (
        f"keys and values: {each / 1024:.0f} KiB a token, {each * longest / GIB:.2f} GiB for the longest sequence "
        f"({longest:,} tokens)"
    )
    fit = at_once(found.shape, found.dtype, found.gpu_bytes, fleet, mean)
    yield f"room beside the weights for {fit:,} prompts with their answers ({mean:,.0f} tokens on average) at once"


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"

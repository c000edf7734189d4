"""What a run cost, for its report: every figure that its record has, task by task, and which were not measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mibe.cost import text
from mibe.cost.figures import NOT_MEASURED, Cost
from mibe.cost.flops import FORMULA
from mibe.cost.recorded import cost_of
from mibe.published.memory import published_memory

Data = dict[str, Any]

COLUMNS = (
    "Answers", "Seconds an answer", "Latency p50 / p95", "First token p50 / p95", "Tokens a second, read / written",
    "Operations", "USD a thousand",
)  # fmt: skip
"""Of the table by task; operations are those of an answer."""


def view(record: Mapping[str, Any], titles: Mapping[str, str]) -> Data:
    """The figures of the whole run, those of each task (`titles` are name → title), and notes on reading them."""
    whole = cost_of(record)
    notes = [] if whole.flops is None else [f"Operations: {FORMULA}."]
    notes += [f"Published beside it: {each.text}. {' '.join(each.doubts)}" for each in published_memory()]
    return {
        "machine": whole.machine,
        "figures": [{"name": name, "value": value, "of": of} for name, value, of in text.rows(whole)],
        "columns": COLUMNS,
        "tasks": [{"title": title, "cells": _cells(cost_of(record, [name]))} for name, title in titles.items()],
        "notes": notes,
    }


def _cells(cost: Cost) -> list[str]:
    """The row of a task."""
    (level,) = cost.levels or (None,)
    if level is None:
        return ["0", *[NOT_MEASURED] * (len(COLUMNS) - 1)]
    rates = (level.read_per_second, level.written_per_second)
    found = [
        text.seconds(level.seconds),
        text.both(level.latency_p50, level.latency_p95),
        text.both(level.first_token_p50, level.first_token_p95),
        None if None in rates else f"{rates[0]:,.1f} / {rates[1]:,.1f}",
        text.flops(cost.flops),
        None if cost.usd is None else f"{1000 * cost.usd:,.2f}",
    ]
    return [f"{cost.documents:,}", *(each or NOT_MEASURED for each in found)]

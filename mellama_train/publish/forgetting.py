"""Catastrophic forgetting: a model beside the one it was trained from, on general and on medical questions.

mibe's suite `forgetting` (MMLU and MedQA) on both, and the paired differences of accuracy, weighted F1 and macro-F1, as
in table 4 of the paper's first version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import mibe
from mellama_train.model.adapters import is_adapter_folder
from mellama_train.model.loading import context_window

SUITE = "forgetting"
METRICS = {"accuracy": "accuracy", "weighted_f1": "F1 (weighted)", "macro_f1": "macro-F1"}
"""mibe's figures → what the table calls them, in the order of the paper's table 4."""

HEADER = ("task", "figure", "base", "tuned", "change", "95 % interval", "n", "p")
TABLE_FORMATS = {"text": "simple", "markdown": "github"}


def measure(
    base: str,
    tuned: str,
    *,
    output: Path,
    limit: int | None = None,
    arguments: Mapping[str, str] | None = None,
    scoring: Literal["generate", "loglikelihood"] = "generate",
) -> mibe.Comparison:
    """Score both models on the same documents and compare them; run A of the comparison is the tuned one.

    `tuned` may be an adapter folder of `base`. `arguments` are those of mibe's model hf, for both. A run that was
    interrupted goes on where it stopped. Raises `ModelLoadError` before anything is scored where one of the folders
    holds no model, and mibe's errors: when a model cannot be loaded, data is not here, or `limit` is out of range.
    """
    adapted = is_adapter_folder(tuned)
    for path in (base,) if adapted else (base, tuned):
        context_window(path)
    models = ({"pretrained": base}, {"pretrained": base, "peft": tuned} if adapted else {"pretrained": tuned})
    before, after = (
        mibe.evaluate(
            model="hf",
            model_args={**model, **(arguments or {})},
            suite=SUITE,
            limit=limit,
            scoring=scoring,
            output_dir=output,
        )
        for model in models
    )
    return mibe.compare(after, before)


def render(found: mibe.Comparison, form: Literal["text", "markdown", "json"]) -> str:
    """The table: each figure of base and tuned model, and the change with its interval and p-value."""
    rows = [
        row
        for name in dict.fromkeys(row.task for row in found.rows)
        for metric in METRICS
        for row in found.rows
        if (row.task, row.metric) == (name, metric)
    ]
    if form == "json":
        lines: list[dict[str, Any]] = [asdict(row) | {"p": row.p} for row in rows]
        runs = {"base": str(found.b.path), "tuned": str(found.a.path)}
        return json.dumps({**runs, "rows": lines, "notes": found.notes}, indent=1)
    from tabulate import tabulate

    table = tabulate(
        [_cells(row) for row in rows],
        headers=HEADER,
        tablefmt=TABLE_FORMATS[form],
        disable_numparse=True,
        colalign=("left", "left", *["right"] * 6),
    )
    return "\n".join([f"base:  {found.b.path}", f"tuned: {found.a.path}", "", table, *found.notes])


def _cells(row: mibe.Difference) -> list[str]:
    return [
        row.task if row.headline else "",
        METRICS[row.metric],
        f"{row.b:.3f}",
        f"{row.a:.3f}",
        f"{100 * row.difference:+.1f} %",
        f"{100 * row.low:+.1f} – {100 * row.high:+.1f} %",
        str(row.n),
        f"{row.p:.2g}",
    ]

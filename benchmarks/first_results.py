"""The demo model on every open task: zero-shot, few-shot, and by likelihood, as tables for `docs/first-results.md`.

    python benchmarks/first_results.py [--tasks mibe_open] [--limit 100] [--output-dir runs]

What is not in the package must have been prepared (`mibe data prepare`). A run that was cut off goes on where it
stopped. Diagnoses are judged by name (`--judge exact`).
"""

from __future__ import annotations

import argparse
from typing import Any

import mibe
from mibe.data import store
from mibe.judge.verdicts import is_judged
from mibe.registry import resolve
from mibe.results.table import render
from mibe.terminal.progress import Terminal

CLOSED = ("pubmedqa", "medqa", "medmcqa", "mmlu", "ddi")
"""Tasks with few possible answers, scored by likelihood as well."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tasks", default="mibe_open")
    options.add_argument("--limit", type=int, default=100)
    options.add_argument("--output-dir", default="runs")
    given = options.parse_args()
    tasks = resolve(given.tasks)
    shots = {task.name: task.shots for task in tasks if "train" in store.splits(task.data_name)}
    names = [task.name for task in tasks]
    settings: tuple[tuple[str, list[str], dict[str, Any]], ...] = (
        ("Zero-shot, generated", names, {}),
        ("Few-shot, generated", list(shots), {"num_fewshot": shots}),
        ("Zero-shot, by likelihood", [name for name in names if name in CLOSED], {"scoring": "loglikelihood"}),
    )
    for title, chosen, own in settings:
        if not chosen:
            continue
        run = mibe.evaluate(
            model="demo",
            tasks=chosen,
            limit=given.limit,
            output_dir=given.output_dir,
            judge="exact" if any(map(is_judged, resolve(chosen))) else None,
            progress=Terminal(),
            **own,
        )
        print(f"## {title}\n\n{render(run.record['tasks'], 'markdown')}\n")
        for name, task in run.record["tasks"].items():
            shares = {m[6:-1]: f["value"] for m, f in task["figures"].items() if m.startswith("share[")}
            if shares:
                label, share = max(shares.items(), key=lambda item: item[1])
                print(f"- {name}: most frequent answer {label!r}, {share:.0%}; cut prompts {task['cut_prompts']}")
        seconds = sum(task["timing"]["model_seconds"] for task in run.record["tasks"].values())
        print(f"\nModel time {seconds:.0f} s.\n", flush=True)


if __name__ == "__main__":
    main()

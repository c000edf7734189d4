"""The demo model on every open task: zero-shot, five-shot, and by likelihood, as tables for `docs/first-results.md`.

    python benchmarks/first_results.py [--limit 100] [--output-dir runs]

DDI and HoC must have been prepared (`mibe data prepare`). A run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import argparse

import mibe
from mibe.data import store
from mibe.progress import Terminal
from mibe.registry import load_task
from mibe.results.table import render

TASKS = ("pubmedqa", "medqa", "medmcqa", "mmlu", "ddi", "hoc", "mtsample")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--limit", type=int, default=100)
    options.add_argument("--output-dir", default="runs")
    given = options.parse_args()
    with_train = [name for name in TASKS if "train" in store.splits(load_task(name).data_name)]
    closed = [name for name in TASKS if name not in ("hoc", "mtsample")]
    for title, tasks, settings in (
        ("Zero-shot, generated", TASKS, {}),
        ("Five-shot, generated", with_train, {"num_fewshot": 5}),
        ("Zero-shot, by likelihood", closed, {"scoring": "loglikelihood"}),
    ):
        run = mibe.evaluate(
            model="demo",
            tasks=tasks,
            limit=given.limit,
            output_dir=given.output_dir,
            progress=Terminal(),
            **settings,
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

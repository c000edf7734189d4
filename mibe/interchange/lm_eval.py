"""A run as lm-eval 0.4 writes its `results_*.json`, so that what reads those files reads it too.

Task names have mibe's prefix, as in `mibe lm-eval`; figures keep their own names, with lm-eval's filter "none", or
where documents were drawn several times "avg@5", "maj@5" and "pass@5". What lm-eval has no place for, intervals and
outcome rates among it, stands in each task's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mibe.harness import prefixed
from mibe.leaderboard.standing import LESS_IS_BETTER
from mibe.metrics.base import is_main
from mibe.results.draws import documents_scored, draws_of, every_figure, repeats_figures
from mibe.results.run import Run
from mibe.results.variants import variant_figures

FILTER = "none"
MISSING = "N/A"
"""What lm-eval writes where a figure has no standard error."""


def results_text(run: Run) -> str:
    """The file's content."""
    return json.dumps(results(run), ensure_ascii=False, indent=2)


def results(run: Run) -> dict[str, Any]:
    """The file's content as data."""
    record = run.record
    tasks = {prefixed(name): (name, part) for name, part in record["tasks"].items() if part.get("figures")}
    begun, ended = (_seconds(record["sessions"][at][key]) for at, key in ((0, "started"), (-1, "ended")))
    return {
        "results": {shown: _figures(shown, part) for shown, (_, part) in tasks.items()},
        "group_subtasks": {shown: [] for shown in tasks},
        "configs": {shown: _config(record, shown, name, part) for shown, (name, part) in tasks.items()},
        "versions": {shown: part["version"] for shown, (_, part) in tasks.items()},
        "n-shot": {shown: part["num_fewshot"] for shown, (_, part) in tasks.items()},
        "higher_is_better": {
            shown: {name: name not in LESS_IS_BETTER for name in part["figures"] if is_main(name)}
            for shown, (_, part) in tasks.items()
        },
        "n-samples": {
            shown: {"original": part["data"]["of"], "effective": documents_scored(part)}
            for shown, (_, part) in tasks.items()
        },
        "config": {
            "model": record["model"]["name"],
            "model_args": json.dumps(record["model"]["identity"], sort_keys=True),
            "limit": record["settings"]["limit"],
            "bootstrap_iters": record["settings"]["resamples"],
            "random_seed": record["settings"]["seed"],
            "mibe_version": record["mibe_version"],
            "mibe_protocol": record["protocol"],
        },
        "git_hash": record["versions"]["git_revision"],
        "date": begun,
        "model_name": record["model"]["name"],
        "start_time": begun,
        "end_time": ended,
        "total_evaluation_time_seconds": None if begun is None or ended is None else str(ended - begun),
    }


def _figures(shown: str, part: Mapping[str, Any]) -> dict[str, Any]:
    draws = draws_of(part)
    how = FILTER if draws == 1 else f"avg@{draws}"
    filtered = {(name, how): figure for name, figure in part["figures"].items() if is_main(name)}
    for name, figure in repeats_figures(part).items():
        metric, _, way = name.rpartition("_")
        if "@" in way:
            filtered[metric, way] = figure
    found: dict[str, Any] = {"alias": shown, "sample_len": part["scored"]}
    for (metric, way), figure in filtered.items():
        error = figure["stderr"]
        found[f"{metric},{way}"] = figure["value"]
        found[f"{metric}_stderr,{way}"] = MISSING if error is None else error
    return found


def _config(record: Mapping[str, Any], shown: str, name: str, part: Mapping[str, Any]) -> dict[str, Any]:
    main = [metric for metric in part["figures"] if is_main(metric)]
    figures = every_figure(part)
    return {
        "task": shown,
        "dataset_name": name,
        "test_split": part["data"]["split"],
        "num_fewshot": part["num_fewshot"],
        "repeats": draws_of(part),
        "output_type": "generate_until" if record["settings"]["scoring"] == "generate" else "multiple_choice",
        "metric_list": [{"metric": metric, "higher_is_better": metric not in LESS_IS_BETTER} for metric in main],
        "metadata": {
            "version": part["version"],
            "intervals": {m: [figures[m]["low"], figures[m]["high"]] for m in (*main, *repeats_figures(part))},
            "versions": {name: figure["value"] for name, figure in variant_figures(part).items() if is_main(name)},
            "draws": {name: figure["value"] for name, figure in repeats_figures(part).items() if "@" not in name},
            "rates": {outcome: figure["value"] for outcome, figure in part["rates"].items()},
        },
    }


def _seconds(time: str | None) -> float | None:
    return None if time is None else datetime.fromisoformat(time).timestamp()

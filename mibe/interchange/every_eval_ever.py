"""A run as a record of Every Eval Ever, the shared form for results of any evaluation (https://evalevalai.com).

The form is its JSON schema `eval.schema.json`, version 0.3.0, which a test holds the record to. Figures alone: no text
of any sample is in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from mibe.leaderboard.standing import LESS_IS_BETTER
from mibe.metrics.base import is_main
from mibe.own.recorded import task_of
from mibe.results.draws import documents_scored, draws_of, every_figure
from mibe.results.run import Run
from mibe.results.variants import is_instability

SCHEMA_VERSION = "0.3.0"

BOUNDS: Mapping[str, tuple[float | str, float | str]] = {"brier": (0, 2), "bartscore": ("-Infinity", 0)}
"""How a figure begins that has others than 0 and 1 → its least and its greatest value."""

UNSTATED = "unknown"
"""What a run record does not say, as the form has it."""


def record_text(run: Run) -> str:
    """The record as JSON."""
    return json.dumps(record_of(run), ensure_ascii=False, indent=2)


def record_of(run: Run) -> dict[str, Any]:
    """The record as data; its evaluator, which no run knows, is the form's "other"."""
    record = run.record
    model = record["model"]
    ended = _epoch(record["sessions"][-1]["ended"])
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"mibe/{model['name']}/{ended}",
        "evaluation_timestamp": ended,
        "retrieved_timestamp": str(int(time.time())),
        "source_metadata": {
            "source_name": "mibe",
            "source_type": "evaluation_run",
            "source_organization_name": UNSTATED,
            "evaluator_relationship": "other",
        },
        "eval_library": {
            "name": "mibe",
            "version": record["mibe_version"],
            "additional_details": {"protocol": record["protocol"], "suite": record["suite"] or "none"},
        },
        "model_info": {
            "name": model["name"],
            "id": model["name"],
            "additional_details": {
                "deployment_type": "externally_managed" if model.get("is_remote") else "self_deployed",
                "model_availability": UNSTATED,
                "identity": json.dumps(model["identity"], sort_keys=True),
            },
        },
        "evaluation_results": [
            entry
            for task, part in record["tasks"].items()
            if part.get("figures")
            for entry in _results(record, task, part)
        ],
    }


def _results(record: Mapping[str, Any], task: str, part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, figure in every_figure(part).items():
        if not is_main(name):
            continue
        least, greatest = next((bounds for start, bounds in BOUNDS.items() if name.startswith(start)), (0, 1))
        interval = {"lower": figure["low"], "upper": figure["high"], "confidence_level": 0.95}
        error = {} if figure["stderr"] is None else {"standard_error": {"value": figure["stderr"]}}
        yield {
            "evaluation_result_id": f"{task}/{name}",
            "evaluation_name": task,
            "source_data": _data(record, task, part),
            "metric_config": {
                "evaluation_description": part["title"],
                "metric_id": name,
                "metric_name": name,
                "lower_is_better": name in LESS_IS_BETTER or is_instability(name),
                "score_type": "continuous",
                "min_score": least,
                "max_score": greatest,
            },
            "score_details": {
                "score": figure["value"],
                "details": {outcome: str(count) for outcome, count in part["outcomes"].items()},
                "uncertainty": {
                    **error,
                    "confidence_interval": interval,
                    "num_samples": figure["n"],
                    "num_bootstrap_samples": record["settings"]["resamples"],
                },
            },
            "generation_config": _generation(record, part),
        }


def _data(record: Mapping[str, Any], task: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """Where the documents are from: the home page of the data set, since few are on a hub in their official form."""
    data = part["data"]
    manifest = data.get("manifest") or {}
    page = manifest.get("homepage") or task_of(record, task).source.homepage
    details = {
        "split": data["split"],
        "sha256": data["sha256"],
        "documents": f"{documents_scored(part)} of {data['of']}",
        "licence": str(manifest.get("licence") or task_of(record, task).source.licence),
    }
    named = {"dataset_name": task, "additional_details": details}
    return named | ({"source_type": "url", "url": [page]} if page else {"source_type": "other"})


def _generation(record: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    settings = record["settings"]
    chosen = record.get("generation") or {}
    args = {name: chosen[name] for name in ("temperature", "top_p", "top_k") if name in chosen}
    asked = {
        "num_fewshot": part["num_fewshot"],
        "scoring": settings["scoring"],
        "prompt_style": settings.get("prompt_style", "direct"),
        "prompt_template_sha256": part["prompt_template_sha256"],
        "draws": draws_of(part),
        "seed": settings["seed"],
    }
    return {
        "generation_args": args | {"max_tokens": part["max_new_tokens"]},
        "additional_details": {name: str(value) for name, value in asked.items()},
    }


def _epoch(time_of: str | None) -> str:
    return UNSTATED if time_of is None else str(int(datetime.fromisoformat(time_of).timestamp()))

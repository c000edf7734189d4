"""A run as the file from which the Hugging Face hub reads a model's results: `.eval_results/*.yaml` of its repository.

https://huggingface.co/docs/hub/eval-results describes the form; huggingface_hub makes it. Each entry is one figure of
one data set of the hub, so it is the headline figure; what it is and of how many documents stands in its notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mibe.errors import ModelError, UsageError
from mibe.own.recorded import task_of
from mibe.results.draws import documents_scored, draws_of, mean_name
from mibe.results.run import Run
from mibe.run.settings import style_of


def eval_results_text(run: Run) -> str:
    """The file's content; tasks whose data set the hub does not have are named in a comment.

    Raises `ModelError` where huggingface_hub is not installed or too old, and `UsageError` where no task is left.
    """
    try:
        import yaml
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    except ImportError:
        raise ModelError(
            "the hub's evaluation results need a huggingface_hub that has EvalResultEntry: pip install -U 'mibe[hub]'"
        ) from None
    scored = {name: part for name, part in run.record["tasks"].items() if part.get("figures")}
    on_hub = {name: repository for name in scored if (repository := task_of(run.record, name).source.hub)}
    if not on_hub:
        raise UsageError(
            f"the hub has no data set of {', '.join(scored)}; a model card's block needs none (hf-eval-results)"
        )
    entries = [
        EvalResultEntry(
            dataset_id=repository,
            task_id=name,
            value=scored[name]["figures"][scored[name]["headline"]]["value"],
            date=run.record["sessions"][-1]["ended"],
            notes=_notes(run.record, scored[name]),
        )
        for name, repository in on_hub.items()
    ]
    text = str(yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)).rstrip("\n")
    left_out = [name for name in scored if name not in on_hub]
    return f"# not on the hub: {', '.join(left_out)}\n{text}" if left_out else text


def _notes(record: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    """Which figure it is, with its interval, and what another run needs to have for the two to be compared."""
    name, figure, draws = part["headline"], part["figures"][part["headline"]], draws_of(part)
    prompts = record["settings"].get("prompts")
    found = [
        f"{mean_name(name, draws) if draws > 1 else name} (0–1)",
        f"95 % interval {figure['low']:.3f}–{figure['high']:.3f}",
        f"{documents_scored(part)} of {part['data']['of']} documents of {part['data']['split']}",
        f"{part['num_fewshot']}-shot",
        f"protocol {record['protocol']}" + (f", prompts {prompts}" if prompts else ""),
        *([style_of(record["settings"])] if style_of(record["settings"]) != "direct" else []),
        *(["by likelihood"] if record["settings"]["scoring"] == "loglikelihood" else []),
        f"mibe {record['mibe_version']}",
    ]
    return "; ".join(found)

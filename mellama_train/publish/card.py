"""The model card: what a model was made of and how, for those who will use it. Markdown with YAML front matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

import mibe
from mellama_train.model.provenance import Lineage, Source, Stage
from mellama_train.recipe.yaml_schema import flat
from mibe.task import AccessLevel

OWN_BY_TRL: Mapping[str, tuple[str, ...]] = {
    "grpo": ("beta", "epsilon", "loss", "scale", "iterations", "rollouts.", "reward."),
    "dpo": ("beta", "precompute_reference"),
}
"""Trainers whose recipes have the sections of the one loop, with the beginnings of the keys that they add to them."""

RESEARCH_ONLY = """\
> **For research only.** This model is no medical device. It was not tested for use with patients, it can state
> falsehoods fluently, and it must not be used for diagnosis, for treatment or for advice to patients."""

RESTRICTED = """\
**This model was trained on data under an agreement, and may repeat parts of it.** Whoever gets the weights must be
allowed to have the data: share them as the agreements named above permit, and not otherwise."""

UNRECORDED = """\
**The access level of some data was not recorded.** Treat the weights as under an agreement until it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the card of one exported model is made from. `notes` are sentences on how its weights were written."""

    name: str
    lineage: Lineage
    library: str
    notes: tuple[str, ...]
    runs: Sequence[mibe.Run]


def card(facts: Facts) -> str:
    """The whole text of `README.md`."""
    front = yaml.safe_dump(_front(facts), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n\n".join(_parts(facts)) + "\n"


def _front(facts: Facts) -> dict[str, Any]:
    """The keys that model hubs read. A local folder is no name that a hub would know."""
    origin = facts.lineage.origin
    front: dict[str, Any] = {
        "library_name": facts.library,
        "pipeline_tag": "text-generation",
        "tags": ["medical", "mellama-train", "research-only"],
    }
    if not Path(origin).is_dir() and origin.count("/") == 1 and not origin.startswith((".", "/", "~")):
        front["base_model"] = origin
    if any(source.access == AccessLevel.CREDENTIALED for source in facts.lineage.sources):
        front |= {"license": "other", "license_name": "data-use-agreement"}
    results = [entry for run in facts.runs for entry in _results(run)]
    if results:
        front["model-index"] = [{"name": facts.name, "results": results}]
    return front


def _results(run: mibe.Run) -> Iterator[dict[str, Any]]:
    for task, about in run.record["tasks"].items():
        known = {name: f["value"] for name, f in about["figures"].items() if f["value"] is not None}
        metrics = [{"type": name, "value": value} for name, value in known.items()]
        yield {"task": {"type": "text-generation"}, "dataset": {"name": task, "type": task}, "metrics": metrics}


def _parts(facts: Facts) -> Iterator[str]:
    yield f"# {facts.name}"
    yield RESEARCH_ONLY
    yield f"Begun with `{facts.lineage.origin}`, trained with mellama-train {mibe.__version__}."
    yield from facts.notes
    for number, stage in enumerate(facts.lineage.stages, 1):
        yield f"## {number}. {stage.title}"
        yield tabulate(_settings(stage), ("setting", "value"), tablefmt="github", disable_numparse=True)
        if stage.sources:
            yield _source_table(stage.sources)
    if facts.lineage.sources:
        yield from _terms(facts.lineage.sources)
    for run in facts.runs:
        yield _scores(run)


def _settings(stage: Stage) -> Iterator[tuple[str, str]]:
    own = OWN_BY_TRL.get(stage.trainer or "")
    if own:
        yield "trainer", f"`{stage.trainer}`"
        yield from _of_the_loop(stage)
        yield from ((key, value) for key, value in _said(stage.recipe) if key.startswith(own))
    else:
        yield from _of_the_loop(stage) if stage.trainer is None else _of_a_plugin(stage)
    if looked := stage.test_sets:
        yield (
            "test sets",
            f"documents of {', '.join(looked.tasks) or 'no task'} looked for in the data: {looked.found:,} found, "
            f"{looked.left_out:,} left out",
        )
    else:
        yield "test sets", "nobody looked for their documents in the data, or nothing is recorded of it"


def _of_a_plugin(stage: Stage) -> Iterator[tuple[str, str]]:
    """All that the recipe of another package's trainer says, by its dotted keys: nobody here knows what counts."""
    yield "trainer", f"`{stage.trainer}`"
    if stage.steps is not None:
        yield "optimizer steps", f"{stage.steps:,}"
    yield from _said(stage.recipe)


def _said(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a recipe says, in one line each, without the end of a cell."""
    said = ((key, value) for key, value in flat(recipe) if value is not None and key != "output")
    yield from ((key, f"`{' '.join(str(value).split())}`".replace("|", "\\|")) for key, value in said)


def _of_the_loop(stage: Stage) -> Iterator[tuple[str, str]]:
    recipe = stage.recipe
    optimizer, batch, engine = recipe["optimizer"], recipe["batch"], recipe["engine"]
    yield "model", f"`{recipe['model']['path']}`"
    if stage.steps is not None:
        yield "optimizer steps", f"{stage.steps:,}"
    yield "rows of a step", f"{batch['rows']:,} of {recipe['context']:,} tokens"
    if epochs := recipe.get("epochs"):
        yield "epochs", str(epochs)
    yield "precision", recipe["precision"] + (", products of the layers in FP8" if recipe["model"].get("fp8") else "")
    yield (
        "learning rate",
        f"{optimizer['learning_rate']:g}, {optimizer['schedule']}, warm-up {optimizer['warmup_ratio']:g}",
    )
    yield "AdamW", f"betas {', '.join(map(str, optimizer['betas']))}; weight decay {optimizer['weight_decay']:g}"
    if lora := recipe.get("lora"):
        yield "LoRA", f"rank {lora['rank']}, alpha {lora['alpha']:g}, layers {', '.join(lora['layers'])}"
    yield "engine", f"DeepSpeed ZeRO-{engine['zero']}" if engine["name"] == "deepspeed" else engine["sharding"].upper()
    if form := recipe.get("data", {}).get("form"):
        yield "prompts", {"plain": "plain text, without chat template", "chat": "chat template"}.get(form, form)
    yield "seed", str(recipe["seed"])


def _source_table(sources: Sequence[Source]) -> str:
    lines = [
        (
            source.name,
            "" if source.weight is None else f"{source.weight:g}",
            "" if source.tokens is None else f"{source.tokens:,}",
            source.access,
            "; ".join(source.agreements),
        )
        for source in sources
    ]
    headers = ("source", "weight", "tokens seen", "access", "agreement")
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True)


def _terms(sources: Sequence[Source]) -> Iterator[str]:
    restricted = [source for source in sources if source.is_restricted]
    if not restricted:
        return
    yield "## Terms of the data"
    known = [source for source in restricted if source.access == AccessLevel.CREDENTIALED]
    if known:
        lines = (
            f"- {source.name}: {'; '.join(source.agreements) or 'the agreement of its owners'}" for source in known
        )
        yield "\n".join(dict.fromkeys(lines))
        yield RESTRICTED
    if len(known) < len(restricted):
        yield UNRECORDED


def _scores(run: mibe.Run) -> str:
    """The figures of a run of mibe, each with its 95 % interval."""
    about = run.record
    lines = [
        (task, name, _decimal(figure["value"]), f"{_decimal(figure['low'])} to {_decimal(figure['high'])}", figure["n"])
        for task, entry in about["tasks"].items()
        for name, figure in entry["figures"].items()
    ]
    table = tabulate(lines, ("task", "metric", "score", "95 % interval", "n"), tablefmt="github", disable_numparse=True)
    asked = f"mibe {about['versions'].get('mibe', '')}, protocol {about['protocol']}".replace(" ,", ",")
    limit = about["settings"].get("limit")
    part = f"; the first {limit} documents of each task" if limit else ""
    return f"## Scores of {about['model']['name']}\n\nMeasured with {asked}{part}.\n\n{table}"


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

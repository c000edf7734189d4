"""Scores as a table: for the terminal, Markdown, LaTeX, CSV, and as JSON with everything."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mibe.metrics.base import is_main
from mibe.results.answers import ANSWERS, answers_of, commonest, is_constant
from mibe.results.draws import (
    CHANGED,
    counted,
    draws_of,
    every_figure,
    is_clustered,
    mean_name,
    pass_name,
    repeats_figures,
    spread_name,
    vote_name,
)
from mibe.results.means import means_of
from mibe.results.variants import outcomes_asked, remarks_on_variants, shown_variants
from mibe.terminal.plain import cell

FORMATS = ("text", "json", "csv", "markdown", "latex")
HEADER = ("task", "metric", "value", "95 % interval", "n", "unparsed", "truncated", "refused", "errors")
SKIPPED = "skipped, data missing"
MEAN = "headlines"
"""Where others have a metric, the row of a mean over tasks says what it is of."""
DRAWN = (
    "avg@k: mean over the draws of each document; sd: standard deviation between draws; maj@k: the answer that most "
    "draws gave; pass@k: one of k draws is right; changed: documents whose answer changes between draws. "
    "Intervals go by document."
)
"""How the figures of several draws are read, a note under the table."""
VARIED = (
    "figures without a colon are of the documents themselves, as without --vary. mean, sd, worst, in_all: over the "
    "versions of one way; flipped: another answer than to the document itself; divergence: two versions that differ in "
    "an attribute have different answers."
)
"""How the figures of versions are read, a note under the table."""
CLUSTERED = (
    "n in m: n samples of m documents, notes or premises; samples that share one are easy or hard together, so "
    "intervals go by these."
)
"""How the number of clusters is read, a note under the table."""
BY_LIKELIHOOD = (
    "accuracy: by the likeliest letter or label as a whole; acc, acc_norm: by the likeliest text of an option, as a "
    "whole and per character; confidence: mean probability of the answer; brier, ece, ece_adaptive (less is better): "
    "how far probabilities are from what is right; accuracy_at_80: of the 80 % most probable answers."
)
"""How the figures of answers by likelihood are read, a note under the table."""
BUDGET_HEADER = ("budget-cut",)
"""Beside the other rates where a model reasons: the share of samples whose reasoning met its limit."""
USAGE_HEADER = ("prompt tokens", "cached", "new tokens", "reasoning", "USD")
"""Beside the others where a model is behind an API: what its server counted, and what that cost."""

SHOWN = 5
"""Labels with few gold samples that a note names."""
CONSTANT_SHARE = 0.9
"""A label that makes up this much of the answers is reported: the model may answer without reading."""


def render(tasks: Mapping[str, Any], form: str, *, skipped: Mapping[str, str] = MappingProxyType({})) -> str:
    """The scores of a record's tasks in one of `FORMATS`; json and csv hold all figures, the others the main ones.

    `skipped` are the tasks that were asked for and not run, each with the reason; they stand in every form.
    """
    if form == "json":
        left_out = {name: {"skipped": why} for name, why in skipped.items()}
        return json.dumps({**tasks, **left_out}, ensure_ascii=False, indent=1)
    tasks = {_label(name, task): task for name, task in tasks.items()}
    if form == "csv":
        return _csv(tasks, skipped)
    from tabulate import tabulate

    style = {"text": "simple", "markdown": "github", "latex": "latex"}[form]
    rows = [row for name, task in tasks.items() for row in _task_rows(name, task)]
    rows += [[name, SKIPPED, "–", "–", "0", "", "", "", ""] for name in skipped]
    rows += [
        [name, MEAN, f"{mean['value']:.3f}", f"{mean['low']:.3f} – {mean['high']:.3f}", *[""] * 5]
        for name, mean in means_of(tasks).items()
    ]
    header: tuple[str, ...] = HEADER
    if _reasons(tasks):
        header += BUDGET_HEADER
        rows = [[*row, _budget_cell(tasks.get(row[0], {})) if row[0] else ""] for row in rows]
    if _is_metered(tasks):
        header += USAGE_HEADER
        rows = [row + (_usage_cells(tasks.get(row[0], {})) if row[0] else [""] * len(USAGE_HEADER)) for row in rows]
    right = ["right"] * (len(header) - 2)
    table = tabulate(rows, headers=header, tablefmt=style, disable_numparse=True, colalign=("left", "left", *right))
    if form != "text":
        return table
    notes = [DRAWN] if any(draws_of(task) > 1 for task in tasks.values()) else []
    notes += [VARIED] if any("variation" in task for task in tasks.values()) else []
    notes += [CLUSTERED] if any(map(is_clustered, tasks.values())) else []
    notes += [BY_LIKELIHOOD] if any("reliability" in task for task in tasks.values()) else []
    notes += [note for name, task in tasks.items() for note in remarks_on(name, task)]
    notes += [f"{name}: {SKIPPED}; {why}" for name, why in skipped.items()]
    return "\n".join([_bold_header(table), *([""] if notes else []), *notes])


def _label(name: str, task: Mapping[str, Any]) -> str:
    """A task's name, and which part of it was scored where that is not all."""
    shard = (task.get("data") or {}).get("shard")
    return f"{name} (shard {shard})" if shard else name


def shown_repeats(task: Mapping[str, Any]) -> list[str]:
    """What stands in tables of the figures of a task's draws: those of the headline, else of the first that has it."""
    draws, headline = draws_of(task), task["headline"]
    found = repeats_figures(task)
    of_headline = [spread_name(headline), vote_name(headline, draws), pass_name(headline, draws)]
    passes = [name for name in found if name.endswith(pass_name("", draws))]
    if of_headline[-1] not in found and passes:
        of_headline[-1] = passes[0]
    return [name for name in (*of_headline, CHANGED) if name in found]


def _task_rows(name: str, task: Mapping[str, Any]) -> list[list[str]]:
    """One line for each main figure, the headline first; outcomes stand beside the headline, and what the draws
    of a document tell follows."""
    main = [metric for metric in task["figures"] if is_main(metric)]
    main.sort(key=lambda metric: metric != task["headline"])
    outcomes = task["outcomes"]
    samples = max(1, task["samples"])
    rates = [f"{outcomes[kind] / samples:.1%}" for kind in ("unparsed", "truncated", "refused")]
    draws, figures = draws_of(task), every_figure(task)
    rows = []
    for number, metric in enumerate([*main, *shown_repeats(task), *shown_variants(task)] if main else []):
        figure = figures[metric]
        shown = mean_name(metric, draws) if draws > 1 and number < len(main) else metric
        cells = [f"{figure['value']:.3f}", f"{figure['low']:.3f} – {figure['high']:.3f}"]
        beside = [counted(task), *rates, str(outcomes["error"])] if number == 0 else [""] * 5
        rows.append([name if number == 0 else "", shown, *cells, *beside])
    if not main:
        rows.append([name, task["headline"], "–", "–", "0", *rates, str(outcomes["error"])])
    return rows


def remarks_on(name: str, task: Mapping[str, Any]) -> list[str]:
    """What a reader of a task's figures must not overlook, one sentence each."""
    notes = []
    for metric, figure in task["figures"].items():
        if (
            metric.startswith("share[")
            and metric != "share[none]"
            and figure["value"] >= CONSTANT_SHARE
            and (answers_of(task) or (task["scored"], 0))[0] >= ANSWERS
        ):
            notes.append(f"{name}: {figure['value']:.0%} of the answers are {metric[6:-1]!r}, whatever the question")
    # Answers that are no labels, such as summaries or marked entities, have no share among the figures.
    if not notes and is_constant(task):
        notes.append(f"{name}: {commonest(task)} answers are one and the same, whatever the question")
    notes += [f"{name}: {note}" for note in _few_gold_remarks(task)]
    if task.get("cut_prompts"):
        notes.append(
            f"{name}: {task['cut_prompts']} prompts were too long for the model and cut in their longest field"
        )
    if task.get("budget_cut") and task.get("thinking_budget") is None:
        notes.append(
            f"{name}: {task['budget_cut']} samples were cut in their reasoning; --thinking-budget N gives room for it"
        )
    notes += [f"{name}: {note}" for note in remarks_on_variants(task)]
    if failed := outcomes_asked(task)["error"]:
        notes.append(f"{name}: {failed} samples failed and are not scored; the same command tries them again")
    data = task.get("data") or {}
    manifest = data.get("manifest") or {}
    if data.get("shard"):
        notes.append(f"{name}: partial, {data['documents']} of {data['of']} documents; mibe merge puts shards together")
    if manifest.get("variant") == "excerpt":
        notes.append(f"{name}: measured on an excerpt of the data set, not comparable with published figures")
    return notes


def few_gold_note(task: Mapping[str, Any], metric: str) -> str:
    """What is to be said beside a figure that gives each label the same weight, where some have few gold samples."""
    few = task.get("few_gold", {}).get(metric)
    return _few_gold(few["gold"], few["perfect"]) if few else ""


def _few_gold_remarks(task: Mapping[str, Any]) -> list[str]:
    """The same for all of a task's figures, a sentence for those of which the same is to be said."""
    metrics: dict[str, list[str]] = {}
    for metric in task.get("few_gold", {}):
        metrics.setdefault(few_gold_note(task, metric), []).append(metric)
    return [f"{', '.join(names)}: {sentence}" for sentence, names in metrics.items()]


def _few_gold(gold: Mapping[str, int], perfect: float) -> str:
    counts = [f"{label!r} {times or 'none'}" for label, times in gold.items()]
    shown = ", ".join(counts[:SHOWN]) + (f" and {len(counts) - SHOWN} labels more have few" * (len(counts) > SHOWN))
    if not any(gold.values()) and not perfect:
        return "no gold sample of anything that it is of; a perfect model has 0.000"
    reach = f"; a perfect model has {perfect:.3f}" if perfect < 1 else ""
    return f"few gold samples of a label that weighs as much as any other: {shown}{reach}"


def _budget_cell(task: Mapping[str, Any]) -> str:
    return f"{task['budget_cut'] / max(1, task['samples']):.1%}" if "budget_cut" in task else ""


def _reasons(tasks: Mapping[str, Any]) -> bool:
    """Whether any task was asked of a model that had room to think, or was cut in its reasoning without any."""
    return any(task.get("thinking_budget") is not None or task.get("budget_cut") for task in tasks.values())


def _usage_cells(task: Mapping[str, Any]) -> list[str]:
    """Tokens and cost of a task whose model is behind an API, under `USAGE_HEADER`; empty cells for another."""
    timing = task.get("timing") or {}
    if "usage" not in timing:
        return [""] * len(USAGE_HEADER)
    usage = timing["usage"]
    tokens = [timing["prompt_tokens"], usage["cached_tokens"], timing["new_tokens"], usage["reasoning_tokens"]]
    cost = "unknown" if usage["cost_usd"] is None else f"{usage['cost_usd']:.4f}"
    return [*(str(number) for number in tokens), cost]


def _is_metered(tasks: Mapping[str, Any]) -> bool:
    return any("usage" in (task.get("timing") or {}) for task in tasks.values())


def _csv(tasks: Mapping[str, Any], skipped: Mapping[str, str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    outcomes = ("parsed", "unparsed", "truncated", "refused", "error")
    header = ["task", "metric", "value", "low", "high", "stderr", "n", *outcomes]
    reasons, metered = _reasons(tasks), _is_metered(tasks)
    header += ["budget_cut"] if reasons else []
    header += [name.replace(" ", "_").lower() for name in USAGE_HEADER] if metered else []
    writer.writerow(header)
    for name, task in tasks.items():
        for metric, figure in every_figure(task).items():
            stderr = "" if figure["stderr"] is None else repr(figure["stderr"])
            numbers = [repr(figure[key]) for key in ("value", "low", "high")]
            counts = [task["outcomes"][key] for key in outcomes]
            counts += [task.get("budget_cut", "")] if reasons else []
            usage = _usage_cells(task) if metered else []
            writer.writerow(map(cell, [name, metric, *numbers, stderr, figure["n"], *counts, *usage]))
    writer.writerows([cell(name), SKIPPED, "", "", "", "", 0, *[""] * (len(header) - 7)] for name in skipped)
    return out.getvalue().rstrip("\n")


def _bold_header(table: str) -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return table
    head, _, rest = table.partition("\n")
    return f"\033[1m{head}\033[0m\n{rest}"

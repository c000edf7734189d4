"""What a table will take, as text."""

from __future__ import annotations

from collections.abc import Sequence

from mibe.data_use import is_credentialed
from mibe.leaderboard.tables import MISSING, table
from mibe.protocols.paper import NEW_TOKENS, UNCHANGED
from mibe.published.figures import TEST_DOCUMENTS
from mibe.registry import load_task
from mibe.reproduction.forecasting import OUTPUT_SHARE, PEAK, READING, WRITING, Forecast, Outlook
from mibe.reproduction.running import Options
from mibe.reproduction.show import title_of
from mibe.task import Category, Task

TASK_HEADER = ("task", "documents", "shots", "prompt tokens", "output at most", "access")
MODEL_HEADER = ("model", "weights", "prompts", "prompt tokens", "output at most", "GPUs a copy", "GPU hours", "USD")


def render(outlook: Outlook, options: Options, form: str) -> str:
    """The plan as text or Markdown."""
    mark = "- " if form == "markdown" else "  "
    parts = [
        f"{title_of(outlook.table.name)}: {outlook.table.title}\nNothing is run, loaded or sent.",
        table(_task_rows(outlook), TASK_HEADER, form, ("left", *["right"] * 4, "left")),
        table(
            [*map(_model_row, outlook.models), _total_row(outlook.models)],
            MODEL_HEADER,
            form,
            ("left", "left", *["right"] * 6),
        ),
    ]
    wanted = list(_wanted(outlook, options))
    if wanted:
        parts.append("\n".join(["missing or to be agreed to:", *(mark + line for line in wanted)]))
    parts.append("\n".join(["assumed:", *(mark + line for line in _assumed(outlook))]))
    return "\n\n".join(parts)


def _task_rows(outlook: Outlook) -> list[list[str]]:
    rows = []
    for name, each in outlook.tallies.items():
        task = load_task(name)
        rows.append(
            [
                name,
                f"{each.documents:,}",
                str(outlook.shots.get(name, 0)),
                f"{each.prompt_tokens:,}",
                f"{each.most_new_tokens:,}",
                task.access.level.value,
            ]
        )
    for name in outlook.left_out:
        documents = TEST_DOCUMENTS.get(name)
        rows.append(
            [
                f"{name} (missing)",
                MISSING if documents is None else f"{documents:,}",
                str(outlook.shots.get(name, 0)),
                "?",
                "?" if documents is None else f"{documents * _new_tokens(load_task(name)):,}",
                load_task(name).access.level.value,
            ]
        )
    return rows


def _new_tokens(task: Task) -> int:
    """The limit of an answer under the protocol of the paper."""
    return task.max_new_tokens if task.name in UNCHANGED else NEW_TOKENS


def _total_row(models: Sequence[Forecast]) -> list[str]:
    hours = [each.gpu_hours for each in models if each.gpu_hours is not None]
    spent = [each.usd for each in models if each.usd is not None]
    usd = f"{sum(low for low, _ in spent):.2f}, at most {sum(high for _, high in spent):.2f}" if spent else MISSING
    return [
        "all",
        "",
        f"{sum(each.prompts for each in models):,}",
        f"{sum(each.prompt_tokens for each in models):,}",
        f"{sum(each.most_new_tokens for each in models):,}",
        "",
        f"{sum(hours):.2f}" if hours else MISSING,
        usd,
    ]


def _model_row(each: Forecast) -> list[str]:
    usd = MISSING if each.usd is None else f"{each.usd[0]:.2f}, at most {each.usd[1]:.2f}"
    return [
        each.entry.name,
        "missing" if each.entry.missing else each.entry.weights,
        f"{each.prompts:,}",
        f"{each.prompt_tokens:,}",
        f"{each.most_new_tokens:,}",
        MISSING if each.gpus is None else str(each.gpus),
        MISSING if each.gpu_hours is None else f"{each.gpu_hours:.2f}",
        usd,
    ]


def _wanted(outlook: Outlook, options: Options) -> list[str]:
    lines = []
    for each in outlook.models:
        lines += [f"{each.entry.name}: {why}" for why in each.why_not]
        if each.entry.terms and not each.entry.missing:
            lines.append(f"{each.entry.name}: {each.entry.terms}")
    for name, why in outlook.left_out.items():
        task = load_task(name)
        signed = f" (signed: {task.access.agreement})" if is_credentialed(task) else ""
        lines.append(f"{name}{signed}: {why}")
    tasks = [load_task(name) for name in outlook.table.tasks]
    if options.bertscore:
        lines.append(
            f"BERTScore: the encoder {options.bertscore}, from the hub or as a folder (--bertscore PATH or none)"
        )
    if any(task.category is Category.DIAGNOSIS for task in tasks) and options.judge is None:
        lines.append("the paper's judge was GPT-4o: --judge openai:gpt-4o; without a judge spelling alone decides")
    return lines


def _assumed(outlook: Outlook) -> list[str]:
    hardware = outlook.hardware
    lines = [
        f"tokens: {outlook.counted}; shared heads of prompts are read once",
        f"output: {OUTPUT_SHARE:.0%} of the limit on average",
    ]
    if hardware.throughput is None:
        lines.append(
            f"speed: A100s of {PEAK / 1e12:.0f} TFLOP/s in bfloat16, {READING:.0%} of it for reading and {WRITING:.0%} "
            "for writing (measure yours: mibe plan --probe; give --throughput)"
        )
    lines.append("not in the sums: tasks whose data is missing, loading, scoring, the judge")
    return lines

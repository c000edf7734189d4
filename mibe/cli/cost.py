"""`mibe cost`: what a model takes for what it scores."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mibe.cli.given import given, note_given
from mibe.cli.options import (
    Commands,
    add_model_arguments,
    add_task_arguments,
    data_use_of,
    prompt_settings_of,
)
from mibe.cli.own import add_own_arguments, tasks_of
from mibe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mibe.cost.difference import Line
    from mibe.cost.figures import Cost

TASKS = "medqa"
"""What a model is measured on where no task is named: bundled, of ordinary length."""
OF_RUNS = {"task", "plan", "format", "model", "model_args"}
"""Options that say something beside a RUN."""


def add_commands(commands: Commands) -> None:
    """Add `cost`."""
    _cost_parser(
        commands.add_parser("cost", help="say what a model took, or measure it: time, memory, tokens, energy, USD")
    )


def _cost_parser(p: argparse.ArgumentParser) -> None:
    note_given(p)
    p.set_defaults(command=_cost)
    p.add_argument(
        "runs", nargs="*", metavar="RUN", help="run folders, or a folder of runs; without one --model is measured"
    )
    add_task_arguments(p, required=False)
    add_own_arguments(p)
    add_model_arguments(p, required=False)
    p.add_argument("--task", metavar="NAME", help="of a run: this task alone, with its latencies")
    p.add_argument("--limit", type=int, default=16, metavar="N", help="documents of each task a pass (default 16)")
    p.add_argument("--batch", type=int, default=8, metavar="N", help="prompts at once, or all (default 8)")
    p.add_argument("--max-cost", type=float, metavar="USD", help="of a model behind an API: stop before it costs more")
    p.add_argument("--plan", action="store_true", help="beside it what mibe plan says, and the difference")
    p.add_argument(
        "--format", choices=("text", "markdown", "json"), default="text", help="of what is printed (default text)"
    )


def _cost(a: argparse.Namespace) -> int:
    """Say what models took: those of runs, or one that is measured now."""
    from mibe.cost.text import render

    print(render(_of_runs(a) if a.runs else _of_model(a), a.format))
    return 0


def _of_runs(a: argparse.Namespace) -> list[tuple[Cost, Sequence[Line]]]:
    from mibe.cost.difference import differences, plan_of
    from mibe.cost.recorded import cost_of
    from mibe.models import parse_model_args
    from mibe.results.finding import find_runs
    from mibe.results.run import load_runs
    from mibe.terminal.news import say

    if a.tasks or a.suite or a.data:
        raise UsageError("a RUN has its tasks; --task NAME takes one of them")
    if idle := sorted(given(a) - OF_RUNS):
        raise UsageError(f"a RUN was asked already; leave out --{idle[0].replace('_', '-')}")
    if (a.model is not None or a.model_args) and not a.plan:
        raise UsageError("a RUN was asked already; leave out --model, or give --plan to count its prompts with it")
    runs, left_out = load_runs(find_runs(a.runs))
    for line in left_out:
        say(line)
    found = []
    for run in runs:
        if a.task is not None:
            run.part(a.task)
        tasks = list(run.record["tasks"]) if a.task is None else [a.task]
        cost = cost_of(run.record, tasks)
        lines: Sequence[Line] = ()
        if a.plan:
            args = parse_model_args(a.model_args)
            lines = differences(cost, plan_of(run.record, cost, tasks, model=a.model, model_args=args))
        found.append((cost, lines))
    return found


def _of_model(a: argparse.Namespace) -> list[tuple[Cost, Sequence[Line]]]:
    from mibe.cost.difference import differences, plan_for
    from mibe.cost.measuring import measure
    from mibe.models import parse_model_args

    if a.model is None:
        raise UsageError("name a run, or a model to be measured: mibe cost RUN, or mibe cost --model NAME")
    if a.task is not None:
        raise UsageError("--task is for a RUN; of a model that is measured --tasks says which documents it is asked")
    is_free = a.tasks is None and a.suite is None and a.data is None
    asked: dict[str, Any] = {
        "model": a.model,
        "tasks": TASKS if is_free else tasks_of(a, a.tasks),
        "suite": a.suite,
        "model_args": parse_model_args(a.model_args),
        "limit": a.limit,
        **data_use_of(a),
        **prompt_settings_of(a),
    }
    cost = measure(**asked, batch=a.batch, max_cost=a.max_cost)
    return [(cost, differences(cost, plan_for(cost, **asked)) if a.plan else ())]

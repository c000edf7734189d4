"""`mibe tasks` and `mibe show`: what there is to score, and what a model reads."""

from __future__ import annotations

import argparse

from mibe.cli.options import (
    Commands,
    add_model_arguments,
    data_use_of,
    prompt_settings_of,
)
from mibe.cli.own import add_data_argument, task_of


def add_commands(commands: Commands) -> None:
    """Add `tasks` and `show`."""
    _tasks_parser(commands.add_parser("tasks", help="list the tasks, their data and licences"))
    _show_parser(commands.add_parser("show", help="show one prompt exactly as a model gets it"))


def _tasks_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_tasks)
    p.add_argument(
        "-v", "--verbose", action="store_true", help="all of each task, not a line: licence, how to get data, …"
    )
    p.add_argument("--format", choices=("text", "json"), default="text", help="json has all of each task")


def _show_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_show)
    p.add_argument("task", nargs="?", help="its name (mibe tasks lists them)")
    add_data_argument(p)
    p.add_argument("--index", type=int, default=0, metavar="I", help="position in the split, from 0")
    add_model_arguments(p, required=False)


def _tasks(a: argparse.Namespace) -> int:
    """List tasks, groups and suites."""
    from mibe.cli.listing import tasks_json, tasks_text

    print(tasks_json() if a.format == "json" else tasks_text(whole=a.verbose))
    return 0


def _show(a: argparse.Namespace) -> int:
    """Show one prompt."""
    from mibe.cli.showing import show
    from mibe.models import parse_model_args

    model_args = parse_model_args(a.model_args)
    print(
        show(
            task_of(a, a.task), a.index, model=a.model, model_args=model_args, **data_use_of(a), **prompt_settings_of(a)
        )
    )
    return 0

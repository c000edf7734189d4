"""The command `mibe env`: a task as an environment of another trainer."""

from __future__ import annotations

import argparse
from pathlib import Path

from mibe.cli.options import Commands, add_data_use_arguments, data_use_of

# As `mibe.interchange.environments` has them, which the command line does without; a test compares.
ENVIRONMENTS = ("verifiers", "trl", "openrlhf", "csv")


def add_commands(commands: Commands) -> None:
    """Add it to the command line."""
    p = commands.add_parser("env", help="write a task as an environment for another trainer")
    p.set_defaults(command=_env)
    p.add_argument("task", metavar="TASK", help="its name (mibe tasks lists them)")
    p.add_argument("--to", required=True, choices=ENVIRONMENTS, help="the trainer, or a table (docs/rewards.md)")
    p.add_argument("--split", default="train", help="the split that prompts come from (default train)")
    p.add_argument("--output", metavar="FILE", help="where to write it (default: to standard output)")
    add_data_use_arguments(p)


def _env(a: argparse.Namespace) -> int:
    """Write it."""
    from mibe.interchange.environments import environment

    output = Path(a.output) if a.output else None
    text = environment(a.task, a.to, split=a.split, output=output, included=a.include, **data_use_of(a))
    if text is not None:
        print(text, end="")
    return 0

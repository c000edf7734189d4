"""The commands `mibe lm-eval-path` and `mibe lm-eval`."""

from __future__ import annotations

import argparse

from mibe.cli.options import Commands


def add_commands(commands: Commands) -> None:
    """Add both to the command line."""
    path = commands.add_parser("lm-eval-path", help="print the folder of task definitions for lm_eval --include_path")
    path.set_defaults(command=_path)
    # No character begins an option here, so that every argument, --help included, is lm-eval's.
    passing = commands.add_parser(
        "lm-eval", help="lm-eval's own command line, with mibe's tasks", prefix_chars="\0", add_help=False
    )
    passing.add_argument("argv", nargs=argparse.REMAINDER, metavar="…", help="lm-eval's own arguments")
    passing.set_defaults(command=_lm_eval)


def _path(_: argparse.Namespace) -> int:
    from mibe.harness import harness_path

    print(harness_path())
    return 0


def _lm_eval(a: argparse.Namespace) -> int:
    from mibe.harness import run

    run(a.argv)
    return 0

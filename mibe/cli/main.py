"""The whole command line. Results go to standard output, news and errors to standard error.

Exit codes: 0 success; 1 more failed samples than `--max-errors`, or stopped by a limit on cost or quota; 2 bad usage,
data or model, or a figure or gold answer that does not hold; 130 interrupted, 143 and 129 by SIGTERM
and SIGHUP.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import mibe
from mibe.cli import compare, data, evaluate, leaderboard, lm_eval, plan, rate, report, score, tasks, verify
from mibe.terminal.exit import exit_code
from mibe.terminal.news import heard_by

SUBJECTS = (evaluate, plan, tasks, data, score, compare, verify, leaderboard, rate, report, lm_eval)
"""In the order of `mibe --help`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its errors become one line each."""
    arguments = parser().parse_args(argv)
    with heard_by(partial(print, file=sys.stderr, flush=True)):
        return exit_code(partial(arguments.command, arguments))


def parser() -> argparse.ArgumentParser:
    """Every command with its options; what a command needs is imported when it runs."""
    top = argparse.ArgumentParser(prog="mibe", description="Scores medical language models on the MIBE benchmark.")
    top.add_argument("--version", action="version", version=f"mibe {mibe.__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for subject in SUBJECTS:
        subject.add_commands(commands)
    return top

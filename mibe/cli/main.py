"""The whole command line. Results go to standard output, news and errors to standard error.

Exit codes: 0 success; 1 more failed samples than `--max-errors`, or stopped by a limit on cost or quota; 2 bad usage,
data or model, results that could not be written, or a figure or gold answer that does not hold; 130 interrupted, 143
and 129 by SIGTERM and SIGHUP.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import mibe
from mibe.cli import compare, data, evaluate, leaderboard, lm_eval, pairs, plan, rate, report, score, tasks, verify
from mibe.terminal.exit import exit_code
from mibe.terminal.news import heard_by
from mibe.terminal.streams import prepare_streams

SUBJECTS = (evaluate, plan, tasks, data, score, compare, pairs, verify, leaderboard, rate, report, lm_eval)
"""In the order of `mibe --help`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its errors become one line each."""
    prepare_streams()
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as told:
        # Help and usage are output too: what became of it is in the exit code.
        code = int(told.code or 0)
        sys.exit(exit_code(lambda: code))
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

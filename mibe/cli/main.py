"""The whole command line. Results go to standard output, news and errors to standard error.

Exit codes: 0 success; 1 more failed samples than `--max-errors`, or stopped by a limit on cost or quota; 2 bad usage,
data or model, results that could not be written, or a figure or gold answer that does not hold (of several models the
worst of theirs counts); 130 interrupted, 143 and 129 by SIGTERM and SIGHUP.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import mibe
from mibe.cli import (
    compare,
    data,
    env,
    evaluate,
    leaderboard,
    lm_eval,
    pairs,
    plan,
    rate,
    report,
    samples,
    score,
    tasks,
    verify,
    view,
)
from mibe.cli.parsing import Parser, parse
from mibe.terminal.exit import exit_code
from mibe.terminal.news import heard_by
from mibe.terminal.streams import prepare_streams

SUBJECTS = (
    evaluate,
    plan,
    tasks,
    data,
    score,
    compare,
    pairs,
    verify,
    leaderboard,
    rate,
    report,
    view,
    samples,
    env,
    lm_eval,
)
"""In the order of `mibe --help`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its errors become one line each."""
    prepare_streams()
    with heard_by(partial(print, file=sys.stderr, flush=True)):
        try:
            arguments = parse(*_parsers(), sys.argv[1:] if argv is None else argv)
        except SystemExit as told:
            # Help and usage are output too: what became of it is in the exit code.
            code = int(told.code or 0)
            sys.exit(exit_code(lambda: code))
        return exit_code(partial(_run, arguments))


def _run(arguments: argparse.Namespace) -> int:
    """One command, with the tasks of the files that were named for it."""
    for path in getattr(arguments, "include", ()):
        mibe.include(path)
    code: int = arguments.command(arguments)
    return code


def parser() -> argparse.ArgumentParser:
    """Every command with its options; what a command needs is imported when it runs."""
    return _parsers()[0]


def _parsers() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The parser of the whole command line, and that of each command."""
    top = Parser(prog="mibe", description="Scores medical language models on the MIBE benchmark.")
    top.add_argument("--version", action="version", version=f"mibe {mibe.__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for subject in SUBJECTS:
        subject.add_commands(commands)
    for command in _commands(top):
        command.add_argument(
            "--include",
            action="append",
            default=[],
            metavar="FILE.py",
            help="also know the tasks that this file defines; may be given again (docs/add-a-dataset.md)",
        )
    return top, commands.choices


def _commands(p: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The commands that take options, those of a command's actions too; lm-eval's options are its own."""
    inner = [action for action in p._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner and p.prefix_chars == "-":
        yield p
    for action in inner:
        for command in action.choices.values():
            yield from _commands(command)

"""`mibe verify` and `check`: figures by packages that are not ours, and gold answers by their own task."""

from __future__ import annotations

import argparse

from mibe.cli.options import Commands
from mibe.cli.own import add_data_argument, task_of
from mibe.terminal.streams import show


def add_commands(commands: Commands) -> None:
    """Add both."""
    _verify_parser(commands.add_parser("verify", help="compute the figures of a run again by other packages"))
    _check_parser(commands.add_parser("check", help="read and score a task's own gold answers"))


def _verify_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_verify)
    p.add_argument("run", metavar="RUN", help="a run folder, or a folder of runs: each of them")
    p.add_argument("--format", choices=("text", "json"), default="text", help="of what is printed (default text)")


def _check_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_check)
    p.add_argument("tasks", nargs="?", metavar="TASK", help="a task, several with commas between, or a group")
    add_data_argument(p)
    p.add_argument("--split", metavar="NAME", help="one split (default: all that are here)")
    p.add_argument("--format", choices=("text", "json"), default="text", help="of what is printed (default text)")


def _verify(a: argparse.Namespace) -> int:
    """Compute the figures of a run, or of several, again; 2 where one differs."""
    from mibe.analysis.text import render_verification, render_verifications
    from mibe.analysis.verify import verify
    from mibe.results.finding import runs_at

    found = [verify(run) for run in runs_at(a.run)]
    show(render_verification(found[0], a.format) if len(found) == 1 else render_verifications(found, a.format))
    return 2 if any(each.failed for each in found) else 0


def _check(a: argparse.Namespace) -> int:
    """Read and score gold answers; 2 where one is not right."""
    from mibe.analysis.check import check
    from mibe.analysis.text import render_checks
    from mibe.registry import resolve

    found = [checked for task in resolve(task_of(a, a.tasks)) for checked in check(task, a.split)]
    show(render_checks(found, a.format))
    return 0 if all(checked.holds for checked in found) else 2

"""The command `mibe report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mibe.cli.options import Commands


def add_commands(commands: Commands) -> None:
    """Add it to the command line."""
    report = commands.add_parser("report", help="write the report of a run as a page: scores, charts, every sample")
    report.set_defaults(command=_report)
    report.add_argument("run", metavar="RUN", help="a run folder, or a folder of runs: a page for each")
    report.add_argument(
        "--html",
        metavar="DIR",
        help="folder for the page (default: report in the run folder); of several runs, for theirs",
    )


def _report(a: argparse.Namespace) -> int:
    from mibe.report.page import write_report
    from mibe.results.finding import runs_at
    from mibe.terminal.progress import on_stderr

    runs = runs_at(a.run)
    for run in runs:
        folder = None if a.html is None else Path(a.html) if len(runs) == 1 else Path(a.html) / run.name
        with on_stderr() as progress:
            page = write_report(run, folder, progress)
        print(page)
    return 0

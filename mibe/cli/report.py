"""The command `mibe report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mibe.cli.options import Commands


def add_commands(commands: Commands) -> None:
    """Add it to the command line."""
    report = commands.add_parser("report", help="write the report of a run, or of two side by side, as a page")
    report.set_defaults(command=_report)
    report.add_argument("run", metavar="RUN", help="a run folder, or a folder of runs: a page for each")
    report.add_argument("other", nargs="?", metavar="RUN_B", help="a second run: both side by side where they differ")
    report.add_argument(
        "--html",
        metavar="DIR",
        help="folder for the page (default: report in the run folder); of several runs, for theirs",
    )


def _report(a: argparse.Namespace) -> int:
    from mibe.report.comparison import write_comparison
    from mibe.report.page import write_report
    from mibe.results.finding import one_run, runs_at
    from mibe.terminal.progress import on_stderr

    folder = None if a.html is None else Path(a.html)
    if a.other is not None:
        with on_stderr() as progress:
            print(write_comparison(one_run(a.run), one_run(a.other), folder, progress))
        return 0
    runs = runs_at(a.run)
    for run in runs:
        with on_stderr() as progress:
            page = write_report(run, folder / run.name if folder and len(runs) > 1 else folder, progress)
        print(page)
    return 0

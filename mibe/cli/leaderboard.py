"""The commands `mibe leaderboard` and `mibe export`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mibe.cli.options import Commands
from mibe.errors import UsageError

NAME = "{run}"
"""What stands in `mibe export --output` for the name of each run folder."""

EXPORTS = ("lm-eval", "csv", "parquet", "hf-eval-results", "hf-eval-yaml", "every-eval-ever", "inspect")


def add_commands(commands: Commands) -> None:
    """Add both to the command line."""
    board = commands.add_parser("leaderboard", help="show runs beside the published figures, as tables or as a page")
    board.set_defaults(command=_leaderboard)
    board.add_argument("runs", nargs="*", metavar="RUN", help="run folders, folders that hold some, or glob patterns")
    board.add_argument(
        "--setting", default="", metavar="A,B", help="zero_shot, few_shot, supervised (default: those of the runs)"
    )
    board.add_argument(
        "--published", default="v2", metavar="V", help="version of the paper: v2 (default), v1, journal, none"
    )
    board.add_argument(
        "--metric", default="paper", metavar="A,B", help="figures to show: names, paper (default) or all"
    )
    board.add_argument("--protocol", metavar="NAME", help="leave out runs under another protocol")
    board.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="[OWN=]PUBLISHED",
        help="the published model to take differences from (default: the one of the same name, else the best)",
    )
    board.add_argument(
        "--backbone",
        action="append",
        default=[],
        metavar="OWN=BACKBONE",
        help="the model that an own one was trained from, for the page's chart of forgetting",
    )
    board.add_argument(
        "--format",
        choices=("text", "csv", "markdown", "latex", "json"),
        default="text",
        help="of what is printed (default text)",
    )
    board.add_argument("--html", metavar="DIR", help="write the page into this folder instead of printing tables")
    export = commands.add_parser("export", help="write a run's results in a form that other tools read")
    export.set_defaults(command=_export)
    export.add_argument("run", metavar="RUN", help="a run folder, or a folder of runs")
    export.add_argument("--to", required=True, choices=EXPORTS, help="the form (docs/leaderboard.md)")
    export.add_argument(
        "--output",
        metavar="PATH",
        help="file to write (default: standard output; parquet needs one, inspect a folder); of several runs with "
        f"{NAME} for each name",
    )
    export.add_argument("--samples", action="store_true", help="csv and parquet: the samples instead of the scores")


def _leaderboard(a: argparse.Namespace) -> int:
    from mibe.leaderboard.board import leaderboard

    boards = leaderboard(
        a.runs,
        settings=_names(a.setting),
        published=a.published,
        metrics=_names(a.metric),
        references=dict(_pair(text) for text in a.reference),
        protocol=a.protocol,
    )
    if a.html is None:
        from mibe.leaderboard.tables import render

        if a.backbone:
            raise UsageError("--backbone is for the page; give --html DIR too")
        print(render(boards, a.format))
        return 0
    from mibe.leaderboard.page import write_page

    page = write_page(boards, Path(a.html), backbones=dict(_pair(text) for text in a.backbone))
    print(f"page: {page}", file=sys.stderr)
    return 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _pair(text: str) -> tuple[str, str]:
    """OWN=OTHER as a pair; the name of an own model may itself hold "=", that of another does not."""
    own, _, other = text.rpartition("=")
    return own, other


def _export(a: argparse.Namespace) -> int:
    from mibe.interchange import export
    from mibe.results.finding import runs_at

    runs = runs_at(a.run)
    if len(runs) > 1 and NAME not in (a.output or ""):
        raise UsageError(f"{a.run} holds {len(runs)} runs; name one, or give --output with {NAME} for each one's name")
    for run in runs:
        output = None if a.output is None else Path(a.output.replace(NAME, run.resolve().name))
        text = export(run, a.to, output=output, samples=a.samples)
        if text is not None:
            print(text)
    return 0

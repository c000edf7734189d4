"""`mibe pairs`: fairness from a file of answers with one column a version of each question."""

from __future__ import annotations

import argparse
from pathlib import Path

from mibe.cli.options import Commands, add_interval_arguments


def add_commands(commands: Commands) -> None:
    """Add `pairs`."""
    p = commands.add_parser("pairs", help="how often answers differ by who the patient is, from a file of answers")
    p.set_defaults(command=_pairs)
    p.add_argument("file", metavar="FILE", help="JSON lines or CSV, one row a question, one column a version of it")
    p.add_argument(
        "--pair",
        action="append",
        default=[],
        metavar="ATTRIBUTE=COLUMN:COLUMN",
        help="the columns of an attribute's values (default: as AMQA calls them); give it again for each attribute",
    )
    p.add_argument("--target", metavar="COLUMN", help="the column of the right answer (default: answer_idx, …)")
    p.add_argument(
        "--judge", metavar="NAME", help="a model that says whether two answers give the same advice, for free text"
    )
    add_interval_arguments(p)
    p.add_argument("--format", choices=("text", "json", "csv", "markdown"), default="text")


def _pairs(a: argparse.Namespace) -> int:
    from mibe.analysis.pairs import pair_figures
    from mibe.analysis.pairs_text import render
    from mibe.data.pairs import read_pairs

    file = read_pairs(Path(a.file), a.pair, target=a.target)
    print(render(pair_figures(file, judge=a.judge, resamples=a.resamples, seed=a.seed), a.format))
    return 0

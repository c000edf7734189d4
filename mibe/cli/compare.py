"""`mibe merge`, `compare` and `agreement`: several runs or raters together."""

from __future__ import annotations

import argparse
import sys

from mibe.cli.options import (
    FORMATS,
    Commands,
    add_interval_arguments,
)


def add_commands(commands: Commands) -> None:
    """Add the three."""
    _merge_parser(commands.add_parser("merge", help="put the shards of a run together"))
    _compare_parser(commands.add_parser("compare", help="compare two runs on the samples that both have scored"))
    _agreement_parser(commands.add_parser("agreement", help="compare the ratings of a judge and a person"))


def _merge_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_merge)
    p.add_argument("runs", nargs="+", metavar="RUN", help="the run folder of each shard, or a folder that holds them")
    p.add_argument("--output-dir", default="runs", metavar="DIR", help="where the merged run goes (default runs)")
    p.add_argument("--partial", action="store_true", help="merge even where shards are missing or samples failed")
    p.add_argument("--format", choices=FORMATS, default="text", help="of what is printed (default text)")


def _compare_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_compare)
    p.add_argument("runs", nargs="+", metavar="RUN", help="run folders A and B, or a folder that holds these two")
    p.add_argument("--list", metavar="TASK", help="print the samples of a task on which the runs differ")
    p.add_argument("--force", action="store_true", help="compare even where data, prompts or protocol differ")
    add_interval_arguments(p)
    p.add_argument(
        "--format",
        choices=("text", "json", "csv", "markdown"),
        default="text",
        help="of what is printed (default text)",
    )


def _agreement_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_agreement)
    p.add_argument(
        "file_a",
        metavar="FILE_A",
        help='JSON lines {"id": …, "rank": 1, "match": true} (rank is optional), the sample log of a judged run, or '
        "ratings of people as DATABASE or DATABASE:RATER",
    )
    p.add_argument("file_b", metavar="FILE_B", help="the other, of any of these kinds")
    add_interval_arguments(p)
    p.add_argument(
        "--format",
        choices=("text", "json", "csv", "markdown"),
        default="text",
        help="of what is printed (default text)",
    )


def _merge(a: argparse.Namespace) -> int:
    """Put the shards of a run together."""
    from mibe.analysis.merge import merge
    from mibe.results.finding import find_runs
    from mibe.results.table import render

    run = merge(find_runs(a.runs), output_dir=a.output_dir, partial=a.partial)
    print(f"run folder: {run.path}", file=sys.stderr)
    print(render(run.record["tasks"], a.format))
    return 0


def _compare(a: argparse.Namespace) -> int:
    """Compare two runs, or list the samples of a task on which they differ."""
    from mibe.analysis.compare import compare
    from mibe.analysis.text import render, render_samples
    from mibe.results.finding import some_runs

    run_a, run_b = some_runs(a.runs, 2)
    found = compare(run_a, run_b, force=a.force, resamples=a.resamples, seed=a.seed)
    print(render_samples(found.differing(a.list), a.format) if a.list else render(found, a.format))
    return 0


def _agreement(a: argparse.Namespace) -> int:
    """Compare two raters."""
    from mibe.analysis.text import render_agreement
    from mibe.rating.reading import agreement

    print(render_agreement(agreement(a.file_a, a.file_b, resamples=a.resamples, seed=a.seed), a.format))
    return 0

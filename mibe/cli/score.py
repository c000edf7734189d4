"""`mibe score`, `parse` and `rescore`: scores without asking a model."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from mibe.cli.options import (
    FORMATS,
    Commands,
    add_data_use_arguments,
    add_encoder_arguments,
    add_interval_arguments,
    add_protocol_argument,
    add_scoring_arguments,
    data_use_of,
)
from mibe.cli.own import add_data_argument, task_of
from mibe.errors import DataError


def add_commands(commands: Commands) -> None:
    """Add the three."""
    _score_parser(commands.add_parser("score", help="score text that was generated elsewhere"))
    _parse_parser(commands.add_parser("parse", help="print what a task's parser reads from outputs"))
    _rescore_parser(commands.add_parser("rescore", help="score a finished run again from its saved text"))


def _score_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_score)
    p.add_argument("--task", metavar="NAME", help="the task whose answers these are")
    add_data_argument(p)
    p.add_argument(
        "--outputs",
        required=True,
        metavar="FILE",
        help='JSON lines {"id": …, "output": …}, or a CSV with these columns',
    )
    p.add_argument("--split", default="test", help="the split that the ids are of (default test)")
    p.add_argument("--partial", action="store_true", help="score the documents that have an output, not all")
    add_protocol_argument(p)
    add_scoring_arguments(p)
    add_data_use_arguments(p)
    add_interval_arguments(p)
    p.add_argument("--format", choices=FORMATS, default="text", help="of what is printed (default text)")


def _parse_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_parse)
    p.add_argument("--task", required=True, metavar="NAME", help="the task whose answers these are")
    add_protocol_argument(p)
    p.add_argument("--explain", action="store_true", help="say in words what was read, and by which rule")
    p.add_argument(
        "file",
        nargs="?",
        default="-",
        help='JSON lines {"output": …, "choices": […], "prompt": …} (default: standard input)',
    )


def _rescore_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_rescore)
    p.add_argument("run", metavar="RUN", help="a run folder, or a folder with one run")
    p.add_argument(
        "--protocol", metavar="NAME", help="score by another protocol, as a run of its own beside (default: the run's)"
    )
    add_encoder_arguments(p)
    p.add_argument("--format", choices=FORMATS, default="text", help="of what is printed (default text)")


def _score(a: argparse.Namespace) -> int:
    """Score text that was generated elsewhere."""
    from mibe.analysis.outputs import score_outputs
    from mibe.protocols import apply
    from mibe.registry import load_task
    from mibe.results.table import render
    from mibe.terminal.progress import Terminal

    task = apply(a.protocol, load_task(task_of(a, a.task)), a.prompts)
    scores = score_outputs(
        task,
        Path(a.outputs),
        split=a.split,
        partial=a.partial,
        bertscore=a.bertscore,
        bartscore=a.bartscore,
        judge=a.judge,
        resamples=a.resamples,
        seed=a.seed,
        progress=Terminal(),
        **data_use_of(a),
    )
    print(render({task.name: scores}, a.format))
    return 0


def _parse(a: argparse.Namespace) -> int:
    """Print what a parser reads."""
    from mibe.analysis.outputs import parse_outputs
    from mibe.protocols import apply
    from mibe.registry import load_task

    task = apply(a.protocol, load_task(a.task), a.prompts)
    try:
        source = sys.stdin if a.file == "-" else Path(a.file).open(encoding="utf-8-sig")  # noqa: SIM115
    except OSError as error:
        raise DataError(f"cannot read {a.file}: {error.strerror}") from None
    with source:
        name = "standard input" if a.file == "-" else a.file
        for number, line in enumerate(parse_outputs(task, source, name, why=a.explain), start=1):
            value = json.dumps(line["prediction"] if a.explain else line, ensure_ascii=False)
            print(f"{number}. {line['outcome']} {value} - {line['why']}" if a.explain else value, flush=True)
    return 0


def _rescore(a: argparse.Namespace) -> int:
    """Score a finished run again."""
    from mibe.analysis.changes import describe
    from mibe.analysis.rescore import rescore
    from mibe.results.finding import one_run
    from mibe.results.table import render

    path = one_run(a.run)
    run = rescore(path, bertscore=a.bertscore, bartscore=a.bartscore, protocol=a.protocol)
    if run.path != Path(path):
        print(f"run folder: {run.path}", file=sys.stderr)
    print(f"the earlier record is kept in {run.path / run.record['earlier']}", file=sys.stderr)
    for name, part in run.record["tasks"].items():
        for line in describe(name, part["changes"]):
            print(line, file=sys.stderr)
    print(render(run.record["tasks"], a.format, skipped=run.record.get("skipped", {})))
    return 0

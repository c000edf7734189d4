"""The command line that all reproduction scripts share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from mibe.errors import DataError, UsageError
from mibe.forecast.amounts import parse_throughput
from mibe.forecast.hardware import GIB
from mibe.leaderboard.runs import Result
from mibe.models import parse_model_args
from mibe.published.figures import HUMAN
from mibe.rating.reading import read_ratings
from mibe.reproduction.filled import Filled, check_backbones, fill
from mibe.reproduction.forecast_text import render as render_outlook
from mibe.reproduction.forecasting import Hardware, look_ahead
from mibe.reproduction.models import LOADERS, Entry, choose
from mibe.reproduction.ratings import rated
from mibe.reproduction.running import (
    ENCODER,
    Choice,
    Options,
    choose_tasks,
    place_runs,
    run_entry,
    with_ratings,
)
from mibe.reproduction.show import FORMATS, render
from mibe.reproduction.table import Reproduction
from mibe.terminal.exit import exit_code
from mibe.terminal.progress import on_stderr
from mibe.terminal.streams import prepare_streams


def main(table: Reproduction, argv: Sequence[str] | None = None) -> int:
    """Run the script of a table; its exit codes are those of `mibe`."""
    prepare_streams()
    arguments = parser(table).parse_args(argv)
    return exit_code(partial(_command, table, arguments), f"{table.name}.py")


def parser(table: Reproduction) -> argparse.ArgumentParser:
    """The options of a script."""
    names = ", ".join(row.model for row in table.rows)
    p = argparse.ArgumentParser(
        prog=f"{table.name}.py",
        description=f"{table.title} Models: {names}.",
        epilog="docs/reproduce.md tells more.",
    )
    p.add_argument("--dry-run", action="store_true", help="print prompts, tokens, GPU hours and what is missing")
    p.add_argument("--published", action="store_true", help="print the table as published; run nothing")
    p.add_argument(
        "--models", nargs="+", default=[], metavar="M", help="models of the paper, demo, dummy, or NAME:MODEL:ARGUMENTS"
    )
    p.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="folder or hub name of a model's weights; {task} in it is the data set",
    )
    p.add_argument("--loader", choices=LOADERS, default="hf", help="what loads weights (default hf)")
    p.add_argument("--model-args", default="", metavar="K=V,…", help="for all models that it loads: dtype=bfloat16")
    p.add_argument("--tasks", default="", metavar="A,B", help="some of the table's data sets")
    p.add_argument("--limit", type=int, metavar="N", help="N documents of each data set")
    p.add_argument("--runs", nargs="+", default=[], metavar="RUN", help="finished runs of mibe eval or mibe merge")
    p.add_argument("--output-dir", default="runs", metavar="DIR", help="where run folders go (default runs)")
    p.add_argument(
        "--backbone",
        action="append",
        default=[],
        metavar="MODEL=ORIGIN",
        help="show the difference of these two as well",
    )
    p.add_argument("--judge", metavar="NAME", help="of diagnoses: exact, openai:gpt-4o (the paper's), …")
    p.add_argument(
        "--ratings",
        action="append",
        default=[],
        metavar="MODEL=FILE",
        help="a person's ratings, as mibe agreement reads",
    )
    p.add_argument("--bertscore", default=ENCODER, metavar="MODEL", help=f"encoder (default {ENCODER}), or none")
    p.add_argument(
        "--allow-egress",
        default="",
        metavar="A,B",
        help="data of your own that a remote model may get, besides the eight",
    )
    p.add_argument("--max-cost", type=float, metavar="USD", help="stop before any one model behind an API costs more")
    p.add_argument("--no-cache", action="store_true", help="ask models even where an earlier run has their answer")
    p.add_argument("--resamples", type=int, default=1000, metavar="N", help="behind each interval (default 1000)")
    p.add_argument("--throughput", type=float, metavar="T", help="dry run: tokens a second of one copy of a model")
    p.add_argument("--prefill-throughput", type=float, metavar="T", help="dry run: of prompt tokens alone")
    p.add_argument("--decode-throughput", type=float, metavar="T", help="dry run: of answers alone")
    p.add_argument("--gpu-memory", type=float, default=80, metavar="GIB", help="dry run: of one GPU (default 80)")
    p.add_argument("--format", choices=FORMATS, default="text")
    return p


def _command(table: Reproduction, a: argparse.Namespace) -> int:
    options = Options(
        output_dir=Path(a.output_dir),
        limit=a.limit,
        resamples=a.resamples,
        bertscore=a.bertscore if a.bertscore != "none" and _shows(table, "bertscore") else None,
        judge=a.judge,
        use_cache=not a.no_cache,
        max_cost=a.max_cost,
        allowed=_names(a.allow_egress),
    )
    if a.published:
        print(render(fill(table, [], {}), a.format))
        return 0
    only_runs = a.runs and not a.models
    weights = _pairs(a.weights, "--weights NAME=PATH")
    entries = (
        []
        if only_runs
        else choose(table, a.models, weights=weights, model_args=parse_model_args(a.model_args), loader=a.loader)
    )
    choices = {entry.suite: choose_tasks(table, entry.suite, _names(a.tasks)) for entry in entries}
    if a.dry_run:
        throughput = parse_throughput(both=a.throughput, prefill=a.prefill_throughput, decode=a.decode_throughput)
        hardware = Hardware(gpu_bytes=a.gpu_memory * GIB, throughput=throughput)
        print(render_outlook(look_ahead(table, entries, choices, options, hardware), options, a.format))
        return 0
    filled, failed = _run(table, entries, choices, options, a)
    print(render(filled, a.format))
    return 1 if failed else 0


def _run(
    table: Reproduction,
    entries: Sequence[Entry],
    choices: dict[str, Choice],
    options: Options,
    a: argparse.Namespace,
) -> tuple[Filled, int]:
    """The filled table, and the number of samples without an answer."""
    _check_all(entries, choices)
    placed = place_runs(table, a.runs)
    everyone = [*(entry for entry, _ in placed), *entries]
    backbones = list(_pairs(a.backbone, "--backbone MODEL=ORIGIN").items())
    check_backbones(table, everyone, backbones)
    ratings = _pairs(a.ratings, "--ratings MODEL=FILE")
    _check_ratings(everyone, ratings)
    own = {entry.name: results for entry, results in placed}
    failed: dict[str, int] = {}
    with on_stderr() as progress:
        for entry in entries:
            done = run_entry(table, entry, choices[entry.suite].tasks, options, progress)
            own[entry.name] = {**own.get(entry.name, {}), **done.results}
            failed[entry.name] = done.failed
    for name, file in ratings.items():
        own[name] = _rated(own, name, file)
    notes = [
        f"{name}: {count} samples got no answer; the same command asks them again"
        for name, count in failed.items()
        if count
    ]
    return fill(table, everyone, own, backbones=backbones, notes=[*notes, *_left_out(choices)]), sum(failed.values())


def _left_out(choices: dict[str, Choice]) -> list[str]:
    """What to say of the tasks that were not run, each once."""
    stand_ins = {name: task for choice in choices.values() for name, task in choice.stand_ins.items()}
    missing = dict.fromkeys(name for choice in choices.values() for name in choice.left_out if name not in stand_ins)
    lines = [f"{task} stands in for {name}, whose data is not here" for name, task in stand_ins.items()]
    if missing:
        lines.append(f"not run, since data is missing (--dry-run says what): {', '.join(missing)}")
    return lines


def _check_all(entries: Sequence[Entry], choices: dict[str, Choice]) -> None:
    """Raise, before the first model is loaded, for all that is known to be missing."""
    if missing := [f"  {entry.name}: {entry.missing}" for entry in entries if entry.missing]:
        raise UsageError("\n".join(["nothing was run; give what is missing, or choose others by --models:", *missing]))
    for choice in choices.values():
        if not choice.tasks:
            lines = [f"  {name}: {why}" for name, why in choice.left_out.items()]
            raise DataError("\n".join(["none of the data is here; nothing was run:", *lines]))


def _check_ratings(entries: Sequence[Entry], ratings: Mapping[str, str]) -> None:
    """Raise, before the first model is loaded, for ratings that cannot be read or are of no model here."""
    known = [entry.name for entry in entries]
    for name, file in ratings.items():
        if name not in known:
            raise UsageError(f"--ratings: there is no model {name} to run; there is {', '.join(known)}")
        read_ratings(Path(file))


def _rated(own: dict[str, dict[str, Result]], name: str, file: str) -> dict[str, Result]:
    results = own.get(name, {})
    diagnoses = [task for task, result in results.items() if "top1_accuracy" in result.part["figures"]]
    task = next((task for task in diagnoses if not task.endswith(HUMAN)), None)
    if task is None:
        raise UsageError(f"--ratings: {name} has no diagnoses here; there are those of {', '.join(own) or 'no model'}")
    return with_ratings(results, rated(results[task], file), task)


def _shows(table: Reproduction, metric: str) -> bool:
    return any(metric in metrics for metrics in table.figures.values())


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _pairs(texts: Sequence[str], form: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{text!r} is not of the form {form}")
        if name in pairs:
            raise UsageError(f"{form}: {name} is given twice")
        pairs[name] = value
    return pairs

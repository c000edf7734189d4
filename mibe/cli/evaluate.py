"""`mibe eval`: score a model on tasks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from mibe.cli.given import note_given
from mibe.cli.options import (
    FORMATS,
    SCORINGS,
    Commands,
    add_generation_arguments,
    add_model_arguments,
    add_run_file_arguments,
    add_scoring_arguments,
    add_task_arguments,
    data_use_of,
    generation_settings_of,
    model_args_of,
    one_of,
    prompt_settings_of,
)
from mibe.cli.own import add_own_arguments, tasks_of
from mibe.errors import UsageError
from mibe.terminal.plain import printable

if TYPE_CHECKING:
    from mibe.results.run import Run

RUN_FILE = "run.toml"
"""The file in a run folder that repeats the run."""


def add_commands(commands: Commands) -> None:
    """Add `eval`."""
    _eval_parser(commands.add_parser("eval", help="score a model on tasks"))


def _eval_parser(p: argparse.ArgumentParser) -> None:
    note_given(p)
    p.set_defaults(command=partial(_eval, parser=p))
    add_run_file_arguments(p)
    add_task_arguments(p, required=False)
    add_own_arguments(p)
    add_model_arguments(p, required=False)
    add_generation_arguments(p)
    add_scoring_arguments(p)
    p.add_argument(
        "--skip-missing", action="store_true", help="leave out tasks whose data is not here; the table says so"
    )
    p.add_argument("--limit", type=int, metavar="N", help="score N documents of each task, the same N for everyone")
    p.add_argument("--shard", metavar="I/N", help="score the I-th of N parts of the documents (then: mibe merge)")
    p.add_argument(
        "--scoring",
        metavar=one_of(SCORINGS),
        default="generate",
        help="generate text and read it, or take the likeliest label or letter (docs/likelihood.md)",
    )
    p.add_argument("--output-dir", default="runs", metavar="DIR", help="where run folders go (default runs)")
    p.add_argument("--no-cache", action="store_true", help="ask the model even where an earlier run has its answer")
    p.add_argument(
        "--max-errors", type=int, default=0, metavar="N", help="exit with 1 above N failed samples (default 0)"
    )
    p.add_argument("--resamples", type=int, default=1000, metavar="N", help="bootstrap resamples (default 1000)")
    p.add_argument(
        "--track", default="", metavar="A,B", help="hand settings and figures on: wandb, mlflow, tensorboard, trackio"
    )
    p.add_argument("--format", choices=FORMATS, default="text", help="of the result table (default text)")
    _add_service_arguments(p)


def _add_service_arguments(p: argparse.ArgumentParser) -> None:
    api = p.add_argument_group("models behind an API (docs/api-models.md)")
    api.add_argument("--estimate", action="store_true", help="print prompts, tokens and cost; send nothing")
    api.add_argument("--max-cost", type=float, metavar="USD", help="stop before the run, judge included, costs more")
    api.add_argument("--batch-api", action="store_true", help="send prompts as Batch jobs: slower, at half the price")
    api.add_argument(
        "--trusted-endpoint", action="store_true", help="the server is ours: treat it as local, credentialed text too"
    )


def _eval(a: argparse.Namespace, *, parser: argparse.ArgumentParser) -> int:
    """Score models on tasks; 1 when more samples failed than the user accepts."""
    from mibe.cli import several
    from mibe.cli.known import Known
    from mibe.cli.run_file import runs_of, to_file, write_run_file
    from mibe.results.included import include

    known = Known(parser)
    named = runs_of(a, known)
    runs = [options for _, options in named]
    for options in runs:
        known.check_whole(options)
    asked = [parser.parse_args(known.words(options)) for options in runs]
    # Those of the command line were included before it ran.
    for path in dict.fromkeys(path for each in asked for path in each.include if path not in a.include):
        include(path)
    for each in asked:
        _check(each)
    whole = asked[0]
    if a.write is not None:
        several.check([_arguments(each) for each in asked])
        write_run_file(Path(a.write), runs, known)
        print(f"written: {a.write}; this runs it: mibe eval {quote(a.write)}", file=sys.stderr)
        return 0
    if a.estimate:
        for each in asked:
            if len(asked) > 1:
                print(f"{_name(each)}:", file=sys.stderr)
            _estimate(each)
        return 0
    kept = [{RUN_FILE: to_file([options], known)} for options in runs]
    if len(asked) == 1:
        return _one(whole, kept[0])
    wanted = [
        several.Wanted(
            name=_name(each),
            settings=settings,
            arguments=_arguments(each),
            score=partial(_score, keep=keep),
            after=partial(_track, names=_trackers(each)),
        )
        for each, (settings, _), keep in zip(asked, named, kept, strict=True)
    ]
    several.check([each.arguments for each in wanted])
    return several.score_all(wanted, max_errors=whole.max_errors, form=whole.format)


def _check(a: argparse.Namespace) -> None:
    """Raise `UsageError` for what the command line alone is to know of."""
    if a.max_errors < 0:
        raise UsageError(f"--max-errors {a.max_errors} is out of range; it is a number of samples, 0 or more")
    if a.track:
        from mibe.interchange.tracking import check_trackers

        check_trackers(_trackers(a))


def _trackers(a: argparse.Namespace) -> list[str]:
    return [name.strip() for name in a.track.split(",") if name.strip()]


def _track(run: Run, names: Sequence[str]) -> None:
    """Hand a run to trackers; of several processes the first alone does."""
    from mibe.models import ranks

    if names and ranks.current().is_first:
        from mibe.interchange.tracking import track

        for name in names:
            track(run, name)


def _name(a: argparse.Namespace) -> str:
    """What a run among several is called while it goes on."""
    args = model_args_of(a)
    return printable(" ".join(filter(None, [a.model, args.get("pretrained") or args.get("model")])))


def _one(a: argparse.Namespace, keep: dict[str, str]) -> int:
    from mibe.models import ranks
    from mibe.results.table import render
    from mibe.terminal.streams import show

    run = _score(_arguments(a), keep=keep)
    if ranks.current().is_first:
        show(render(run.record["tasks"], a.format, skipped=run.record.get("skipped", {})))
    _track(run, _trackers(a))
    return 1 if run.failed > a.max_errors else 0


def _score(arguments: Mapping[str, Any], *, keep: dict[str, str]) -> Run:
    from mibe.run.evaluate import evaluate
    from mibe.terminal.progress import on_stderr

    with on_stderr() as progress:
        return evaluate(**arguments, progress=progress, keep=keep)


def _arguments(a: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `mibe.evaluate`."""
    return {
        "model": a.model,
        "tasks": tasks_of(a, a.tasks),
        "suite": a.suite,
        "model_args": model_args_of(a),
        "output_dir": a.output_dir,
        "use_cache": not a.no_cache,
        "judge": a.judge,
        "max_cost": a.max_cost,
        "limit": a.limit,
        "shard": a.shard,
        "scoring": a.scoring,
        "resamples": a.resamples,
        "bertscore": a.bertscore,
        "skip_missing": a.skip_missing,
        **data_use_of(a),
        **prompt_settings_of(a),
        **generation_settings_of(a),
    }


def _estimate(a: argparse.Namespace) -> None:
    from mibe.forecast.money import estimate_run, render

    found = estimate_run(
        model=a.model,
        tasks=tasks_of(a, a.tasks),
        suite=a.suite,
        model_args=model_args_of(a),
        limit=a.limit,
        scoring=a.scoring,
        **data_use_of(a),
        **prompt_settings_of(a),
        **generation_settings_of(a),
    )
    print(render(found, a.format))

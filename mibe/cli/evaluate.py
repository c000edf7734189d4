"""`mibe eval`: score a model on tasks."""

from __future__ import annotations

import argparse

from mibe.cli.options import (
    FORMATS,
    Commands,
    add_generation_arguments,
    add_model_arguments,
    add_scoring_arguments,
    add_task_arguments,
    data_use_of,
    generation_settings_of,
    model_args_of,
    prompt_settings_of,
)
from mibe.errors import UsageError


def add_commands(commands: Commands) -> None:
    """Add `eval`."""
    _eval_parser(commands.add_parser("eval", help="score a model on tasks"))


def _eval_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_eval)
    add_task_arguments(p)
    add_model_arguments(p, required=True)
    add_generation_arguments(p)
    add_scoring_arguments(p)
    p.add_argument(
        "--skip-missing", action="store_true", help="leave out tasks whose data is not here; the table says so"
    )
    p.add_argument("--limit", type=int, metavar="N", help="score N documents of each task, the same N for everyone")
    p.add_argument("--shard", metavar="I/N", help="score the I-th of N parts of the documents (then: mibe merge)")
    p.add_argument(
        "--scoring",
        choices=("generate", "loglikelihood"),
        default="generate",
        help="generate text and read it, or take the likeliest label or letter (docs/likelihood.md)",
    )
    p.add_argument("--output-dir", default="runs", metavar="DIR", help="where run folders go (default runs)")
    p.add_argument("--no-cache", action="store_true", help="ask the model even where an earlier run has its answer")
    p.add_argument(
        "--max-errors", type=int, default=0, metavar="N", help="exit with 1 above N failed samples (default 0)"
    )
    p.add_argument("--resamples", type=int, default=1000, metavar="N", help="bootstrap resamples (default 1000)")
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


def _eval(a: argparse.Namespace) -> int:
    """Score a model on tasks; 1 when more samples failed than the user accepts."""
    from mibe.models import ranks
    from mibe.results.table import render
    from mibe.run.evaluate import evaluate
    from mibe.terminal.progress import on_stderr
    from mibe.terminal.streams import show

    if a.max_errors < 0:
        raise UsageError(f"--max-errors {a.max_errors} is out of range; it is a number of samples, 0 or more")
    if a.estimate:
        return _estimate(a)
    with on_stderr() as progress:
        run = evaluate(
            model=a.model,
            tasks=a.tasks,
            suite=a.suite,
            model_args=model_args_of(a),
            output_dir=a.output_dir,
            use_cache=not a.no_cache,
            progress=progress,
            judge=a.judge,
            max_cost=a.max_cost,
            limit=a.limit,
            shard=a.shard,
            scoring=a.scoring,
            resamples=a.resamples,
            bertscore=a.bertscore,
            skip_missing=a.skip_missing,
            **data_use_of(a),
            **prompt_settings_of(a),
            **generation_settings_of(a),
        )
    if ranks.current().is_first:
        show(render(run.record["tasks"], a.format, skipped=run.record.get("skipped", {})))
    return 1 if run.failed > a.max_errors else 0


def _estimate(a: argparse.Namespace) -> int:
    from mibe.forecast.money import estimate_run, render

    found = estimate_run(
        model=a.model,
        tasks=a.tasks,
        suite=a.suite,
        model_args=model_args_of(a),
        limit=a.limit,
        scoring=a.scoring,
        **data_use_of(a),
        **prompt_settings_of(a),
        **generation_settings_of(a),
    )
    print(render(found, a.format))
    return 0

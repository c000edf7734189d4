"""What each command does: it calls the API and prints. Imports wait until a command needs them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mibe import ranks
from mibe.errors import DataError, UsageError


def run_eval(a: argparse.Namespace) -> int:
    """Score a model on tasks; 1 when more samples failed than the user accepts."""
    from mibe.evaluation import evaluate
    from mibe.progress import on_stderr
    from mibe.results.table import render

    if a.max_errors < 0:
        raise UsageError(f"--max-errors {a.max_errors} is out of range; it is a number of samples, 0 or more")
    if a.estimate:
        return _estimate(a)
    with on_stderr() as progress:
        run = evaluate(
            model=a.model,
            tasks=a.tasks,
            suite=a.suite,
            model_args=_model_args(a),
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
            **_data_use(a),
            **_prompt_settings(a),
        )
    if ranks.current().is_first:
        print(render(run.record["tasks"], a.format, skipped=run.record.get("skipped", {})))
    return 1 if run.failed > a.max_errors else 0


def _estimate(a: argparse.Namespace) -> int:
    from mibe.estimate import estimate_run, render

    found = estimate_run(
        model=a.model,
        tasks=a.tasks,
        suite=a.suite,
        model_args=_model_args(a),
        limit=a.limit,
        scoring=a.scoring,
        **_data_use(a),
        **_prompt_settings(a),
    )
    print(render(found, a.format))
    return 0


def _model_args(a: argparse.Namespace) -> dict[str, str]:
    """The model's arguments, those that have a flag of their own among them."""
    from mibe.models import parse_model_args

    flags = {name: "true" for name in ("batch_api", "trusted_endpoint") if getattr(a, name)}
    return parse_model_args(a.model_args) | flags


def _data_use(a: argparse.Namespace) -> dict[str, Any]:
    allowed = [name.strip() for name in a.allow_egress.split(",") if name.strip()]
    return {"allow_egress": tuple(allowed), "agreement": a.agreement}


def _prompt_settings(a: argparse.Namespace) -> dict[str, Any]:
    """The settings that `eval` and `show` share. A number of examples that was not given is left to the suite."""
    given = {} if a.num_fewshot is None else {"num_fewshot": a.num_fewshot}
    return given | {
        "split": a.split,
        "seed": a.seed,
        "max_new_tokens": a.max_new_tokens,
        "fewshot_per_document": a.fewshot_per_document,
        "protocol": a.protocol,
    }


def run_plan(a: argparse.Namespace) -> int:
    """Say what a run will take."""
    from mibe.capacity import GIB, parse_dtype, parse_fleet, parse_shape, parse_throughput
    from mibe.forecast import forecast, render
    from mibe.models import parse_model_args

    shape = None if a.model_shape is None else parse_shape(a.model_shape)
    dtype, gpu_bytes = parse_dtype(a.dtype), a.gpu_memory * GIB
    found = forecast(
        tasks=a.tasks,
        suite=a.suite,
        model=a.model,
        model_args=parse_model_args(a.model_args),
        fleet=parse_fleet(a.gpus, a.gpus_per_copy, shape=shape, dtype=dtype, gpu_bytes=gpu_bytes),
        shape=shape,
        dtype=dtype,
        gpu_bytes=gpu_bytes,
        throughput=parse_throughput(both=a.throughput, prefill=a.prefill_throughput, decode=a.decode_throughput),
        probe=a.probe,
        output_share=a.output_share,
        characters_per_token=a.characters_per_token,
        limit=a.limit,
        **_data_use(a),
        **_prompt_settings(a),
    )
    print(render(found, a.format))
    return 0


def run_tasks(a: argparse.Namespace) -> int:
    """List tasks, groups and suites."""
    from mibe.listing import tasks_json, tasks_text

    print(tasks_json() if a.format == "json" else tasks_text())
    return 0


def run_show(a: argparse.Namespace) -> int:
    """Show one prompt."""
    from mibe.listing import show
    from mibe.models import parse_model_args

    model_args = parse_model_args(a.model_args)
    print(show(a.task, a.index, model=a.model, model_args=model_args, **_data_use(a), **_prompt_settings(a)))
    return 0


def run_merge(a: argparse.Namespace) -> int:
    """Put the shards of a run together."""
    from mibe.results.merge import merge
    from mibe.results.table import render

    run = merge(a.runs, output_dir=a.output_dir, partial=a.partial)
    print(f"run folder: {run.path}", file=sys.stderr)
    print(render(run.record["tasks"], a.format))
    return 0


def run_compare(a: argparse.Namespace) -> int:
    """Compare two runs, or list the samples of a task on which they differ."""
    from mibe.results.compare import compare
    from mibe.results.compare_text import render, render_samples

    found = compare(a.run_a, a.run_b, force=a.force, resamples=a.resamples, seed=a.seed)
    print(render_samples(found.differing(a.list), a.format) if a.list else render(found, a.format))
    return 0


def run_agreement(a: argparse.Namespace) -> int:
    """Compare two raters."""
    from mibe.results.agreement import agreement
    from mibe.results.compare_text import render_agreement

    print(render_agreement(agreement(a.file_a, a.file_b, resamples=a.resamples, seed=a.seed), a.format))
    return 0


def run_data_list(a: argparse.Namespace) -> int:
    """Say what data is here and how to get the rest."""
    from mibe.listing import data_text

    print(data_text())
    return 0


def run_data_prepare(a: argparse.Namespace) -> int:
    """Bring in a data set."""
    from mibe.data.prepare import prepare
    from mibe.listing import manifest_text, task_of_data

    task = task_of_data(a.name)
    manifest = prepare(task.data_name, task.source, Path(a.path), variant=a.variant, access=task.access)
    print(manifest_text(task.data_name, manifest))
    return 0


def run_data_verify(a: argparse.Namespace) -> int:
    """Check prepared data; 2 when something is wrong with it."""
    from mibe.listing import verify_text

    text, sound = verify_text(a.name)
    print(text)
    return 0 if sound else 2


def run_data_download(a: argparse.Namespace) -> int:
    """Get a prepared test set."""
    from mibe.data.download import download
    from mibe.listing import manifest_text, task_of_data

    task = task_of_data(a.name)
    manifest = download(task, Path(a.path) if a.path else None)
    print(manifest_text(task.data_name, manifest))
    return 0


def run_score(a: argparse.Namespace) -> int:
    """Score text that was generated elsewhere."""
    from mibe.offline import score_outputs
    from mibe.progress import Terminal
    from mibe.protocols import apply
    from mibe.registry import load_task
    from mibe.results.table import render

    task = apply(a.protocol, load_task(a.task))
    scores = score_outputs(
        task,
        Path(a.outputs),
        split=a.split,
        partial=a.partial,
        bertscore=a.bertscore,
        judge=a.judge,
        resamples=a.resamples,
        seed=a.seed,
        progress=Terminal(),
        **_data_use(a),
    )
    print(render({task.name: scores}, a.format))
    return 0


def run_parse(a: argparse.Namespace) -> int:
    """Print what a parser reads."""
    import json

    from mibe.offline import parse_outputs
    from mibe.protocols import apply
    from mibe.registry import load_task

    task = apply(a.protocol, load_task(a.task))
    try:
        source = sys.stdin if a.file == "-" else Path(a.file).open(encoding="utf-8-sig")  # noqa: SIM115
    except OSError as error:
        raise DataError(f"cannot read {a.file}: {error.strerror}") from None
    with source:
        for line in parse_outputs(task, source, "standard input" if a.file == "-" else a.file):
            print(json.dumps(line, ensure_ascii=False), flush=True)
    return 0


def run_rescore(a: argparse.Namespace) -> int:
    """Score a finished run again."""
    from mibe.offline import rescore
    from mibe.results.table import render

    run = rescore(a.run, bertscore=a.bertscore)
    print(f"the earlier record is kept in {run.path / run.record['earlier']}", file=sys.stderr)
    print(render(run.record["tasks"], a.format, skipped=run.record.get("skipped", {})))
    return 0

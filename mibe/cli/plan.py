"""`mibe plan`: what a run will take."""

from __future__ import annotations

import argparse

from mibe.cli.options import (
    Commands,
    add_model_arguments,
    add_repeats_argument,
    add_task_arguments,
    add_vary_argument,
    data_use_of,
    prompt_settings_of,
)
from mibe.cli.own import add_own_arguments, tasks_of


def add_commands(commands: Commands) -> None:
    """Add `plan`."""
    _plan_parser(commands.add_parser("plan", help="say what a run will take: tokens, GPU hours, memory, disk"))


def _plan_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_plan)
    add_task_arguments(p)
    add_own_arguments(p)
    add_model_arguments(p, required=False)
    p.add_argument("--limit", type=int, metavar="N", help="N documents of each task (default all)")
    add_repeats_argument(p)
    add_vary_argument(p)
    rate = p.add_argument_group("throughput of one copy of the model, in tokens a second over all its requests")
    rate.add_argument("--throughput", type=float, metavar="T", help="of tokens read and written alike")
    rate.add_argument("--prefill-throughput", type=float, metavar="T", help="of prompt tokens read")
    rate.add_argument("--decode-throughput", type=float, metavar="T", help="of tokens written")
    rate.add_argument(
        "--probe", type=int, nargs="?", const=24, metavar="N", help="time --model on N documents of each task (24)"
    )
    p.add_argument(
        "--output-share", type=float, default=0.5, metavar="S", help="mean answer by its limit (default 0.5)"
    )
    p.add_argument(
        "--characters-per-token", type=float, default=4.0, metavar="C", help="where no tokenizer is named (default 4)"
    )
    p.add_argument("--model-shape", metavar="SHAPE", help="llama2-70b, …, a model folder, or params=70e9,layers=80,…")
    p.add_argument("--dtype", default="bfloat16", help="of weights and cache: bfloat16 (default), fp8, int4, …")
    p.add_argument("--gpus", type=int, default=1, metavar="N", help="GPUs in all (default 1)")
    p.add_argument("--gpu-memory", type=float, default=80, metavar="GIB", help="of one GPU (default 80)")
    p.add_argument(
        "--gpus-per-copy", type=int, metavar="K", help="of one copy of the model (default: as its weights need)"
    )
    p.add_argument(
        "--format", choices=("text", "markdown", "json"), default="text", help="of what is printed (default text)"
    )


def _plan(a: argparse.Namespace) -> int:
    """Say what a run will take."""
    from mibe.forecast.amounts import parse_throughput
    from mibe.forecast.hardware import GIB, parse_dtype, parse_fleet, parse_shape
    from mibe.forecast.prompts import forecast
    from mibe.forecast.text import render
    from mibe.models import parse_model_args

    shape = None if a.model_shape is None else parse_shape(a.model_shape)
    dtype, gpu_bytes = parse_dtype(a.dtype), a.gpu_memory * GIB
    found = forecast(
        tasks=tasks_of(a, a.tasks),
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
        repeats=a.repeats,
        vary=a.vary,
        **data_use_of(a),
        **prompt_settings_of(a),
    )
    print(render(found, a.format))
    return 0

"""`mellama-train plan`: what a recipe will take, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tabulate import tabulate

from mellama_train.errors import RecipeError
from mellama_train.plan.fitting import differences, nearest_fit, on_engine
from mellama_train.plan.gpus import GPUS, Gpu
from mellama_train.plan.memory import GIB, USABLE, memory
from mellama_train.plan.shapes import Shape, shape_of
from mellama_train.plan.stopping import DISK, checkpoint_bytes, checkpoint_seconds, warning_seconds
from mellama_train.plan.time import tokens_a_second
from mellama_train.plan.work import AnyRecipe, Asked, Work, read_recipe, stage_of, work


@dataclass(frozen=True, slots=True)
class Plan:
    """The lines to show, and whether the run can begin."""

    text: str
    fits: bool
    hours: float | None


def plan(path: Path, asked: Asked) -> Plan:
    """The plan of a recipe. Raises `RecipeError` or `ModelLoadError`."""
    recipe = read_recipe(path)
    shape, gpu = shape_of(asked.model or recipe.model.path), GPUS[asked.gpu]
    if recipe.batch.rows % (asked.gpus * recipe.batch.micro_rows):
        raise RecipeError(
            f"batch.rows {recipe.batch.rows} cannot be divided among {asked.gpus} GPUs with "
            f"{recipe.batch.micro_rows} rows each; choose another number of GPUs, or other rows"
        )
    fits = memory(recipe, shape, asked.gpus).fits(gpu)
    speed = asked.throughput or tokens_a_second(recipe, shape, asked.gpus, gpu, asked.utilisation)
    done = work(recipe, asked)
    hours = done.tokens * done.epochs / speed / 3600 if done and speed else None
    lines = [
        *_memory_lines(recipe, shape, asked, gpu),
        *_time_lines(asked, gpu, done, speed),
        *_stopping_lines(path, recipe, shape, asked, speed),
    ]
    return Plan("\n".join(lines), fits, hours)


def _memory_lines(recipe: AnyRecipe, shape: Shape, asked: Asked, gpu: Gpu) -> Iterator[str]:
    found = memory(recipe, shape, asked.gpus)
    yield f"model: {shape.parameters / 1e9:.2f}B parameters; {asked.gpus} × {asked.gpu}" + (
        f" on {asked.nodes} nodes" if asked.nodes else ""
    )
    parts = {
        "weights": found.state.weights,
        "gradients (summed in float32)": found.state.gradients,
        "optimizer": found.state.optimizer,
        "activations": found.activations,
        "logits": found.logits,
        "buffers": found.buffers,
        "of it on the CPU": -found.state.host,
        "together on the device": found.device,
    }
    rows = [(name, f"{size / GIB:.2f}") for name, size in parts.items() if size]
    yield tabulate(rows, ("a rank", "GiB"), colalign=("left", "right"), disable_numparse=True)
    if found.state.host:
        per_node = asked.gpus // asked.machines
        yield f"memory of a node for what is offloaded: {found.state.host * per_node / GIB:,.0f} GiB"
    yield from _stages(recipe, shape, asked, gpu)
    if gpu.memory is None:
        return
    if found.fits(gpu):
        yield f"fits: {asked.gpu} has {gpu.memory:g} GiB, of which {USABLE:.0%} are counted on"
        return
    near = nearest_fit(recipe, shape, asked.gpus, gpu)
    yield f"DOES NOT FIT: {asked.gpu} has {gpu.memory:g} GiB, of which {USABLE:.0%} are counted on"
    yield f"nearest that fits: {differences(recipe, near)}" if near else "nothing fits; take more GPUs, or LoRA"


def _stages(recipe: AnyRecipe, shape: Shape, asked: Asked, gpu: Gpu) -> Iterator[str]:
    """The same by each stage of the engine."""
    engine = recipe.engine
    if engine.name == "deepspeed":
        others = {f"ZeRO-{zero}": replace(engine, zero=zero, offload_parameters=False) for zero in (1, 2, 3)}
    else:
        others = {
            name.upper(): replace(engine, sharding=name, offload_optimizer=False, offload_parameters=False)
            for name in ("ddp", "fsdp")
        }
    able = {name: on for name, other in others.items() if (on := on_engine(recipe, other))}
    found = {name: memory(on, shape, asked.gpus) for name, on in able.items()}
    yield "by stage: " + ", ".join(f"{name} {size.device / GIB:.1f} GiB" for name, size in found.items())


def _time_lines(asked: Asked, gpu: Gpu, done: Work | None, speed: float | None) -> Iterator[str]:
    if speed is None:
        yield f"throughput: not known for {asked.gpu} and this precision; state --throughput (tokens a second of all)"
    else:
        yield f"throughput: {speed:,.0f} tokens a second ({_assumed(asked, gpu)})"
    if done is None:
        yield "tokens: not known, since the data is not here; state --tokens, or --samples for tuning"
        return
    yield f"tokens: {done.tokens:,.0f} an epoch, {done.epochs:g} epoch{'s' if done.epochs != 1 else ''} ({done.how})"
    if speed is None:
        return
    hours = done.tokens / speed / 3600
    total = hours * done.epochs
    yield f"time: {hours:,.1f} hours an epoch, {total:,.1f} in all; {total * asked.gpus:,.0f} GPU-hours"
    if asked.price:
        yield f"cost: {total * asked.gpus * asked.price:,.0f} USD at {asked.price:g} USD a GPU-hour"


def _stopping_lines(path: Path, recipe: AnyRecipe, shape: Shape, asked: Asked, speed: float | None) -> Iterator[str]:
    """What a scheduler must be told for the run to end with a checkpoint of its last step."""
    size, seconds = checkpoint_bytes(recipe, shape), checkpoint_seconds(recipe, shape)
    yield f"a checkpoint: {size / 1e9:,.1f} GB, whole after {seconds:,.0f} s at {DISK / 1e9:g} GB/s for all ranks"
    if speed is None:
        return
    warning = warning_seconds(recipe, shape, asked.gpus, speed)
    yield (
        f"warning before the end: {warning} s (two micro-batches, a checkpoint, and 30 s)\n"
        f"  sbatch --nodes {asked.machines} --signal=USR1@{warning} "
        f"examples/cluster/train.sbatch {stage_of(recipe)} {path}\n"
        f"  torchrun: TORCH_ELASTIC_SHUTDOWN_TIMEOUT={warning}, since it kills ranks 30 s after SIGTERM otherwise"
    )


def _assumed(asked: Asked, gpu: Gpu) -> str:
    if asked.throughput:
        return "as stated"
    if asked.utilisation:
        return f"{asked.utilisation:.0%} of {gpu.peak:g} TFLOP/s, as stated"
    return f"{gpu.utilisation:.0%} of {gpu.peak:g} TFLOP/s, from {gpu.source}; checkpoints and probes not counted"

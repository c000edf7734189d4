"""`mellama-train plan`: what a recipe will take, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mellama_train.plan.fitting import differences, faster, nearest_fit, on_engine
from mellama_train.plan.gpus import GPUS, Gpu
from mellama_train.plan.lines import cost_lines, host_lines, launched, parts_of, planned, room, size_lines
from mellama_train.plan.memory import GIB, memory
from mellama_train.plan.shapes import Shape
from mellama_train.plan.stopping import checkpoint_bytes, checkpoint_seconds, warning_seconds
from mellama_train.plan.time import StepTime, step_time
from mellama_train.plan.work import AnyRecipe, Asked, Question, Work, work


@dataclass(frozen=True, slots=True)
class Plan:
    """The lines to show, and whether the run can begin."""

    text: str
    fits: bool
    hours: float | None


def forecast(recipe: AnyRecipe, question: Question) -> Plan:
    """The plan of a recipe of the one loop. Raises `RecipeError` or `ModelLoadError`."""
    asked = question.asked
    shape, gpu = planned(recipe, question)
    fits = memory(recipe, shape, asked.gpus).fits(gpu)
    step = _step(recipe, shape, asked)
    done = work(recipe, asked)
    saving = _saving(recipe, shape, asked)
    seconds = done.tokens * done.epochs * (step.total + saving) / _tokens(recipe) if done and step else None
    hours = seconds / 3600 if seconds is not None else None
    lines = [
        *_memory_lines(recipe, shape, asked, gpu),
        *_time_lines(recipe, asked, done, step, saving),
        *(_faster_lines(recipe, shape, asked) if fits and step and not asked.throughput else ()),
        *_launch_lines(recipe, shape, question, step),
    ]
    return Plan("\n".join(lines), fits, hours)


def _tokens(recipe: AnyRecipe) -> int:
    """Tokens of a step."""
    return recipe.batch.rows * recipe.context


def _step(recipe: AnyRecipe, shape: Shape, asked: Asked) -> StepTime | None:
    if asked.throughput:
        return StepTime(compute=_tokens(recipe) / asked.throughput)
    return step_time(recipe, shape, asked.cluster)


def _saving(recipe: AnyRecipe, shape: Shape, asked: Asked) -> float:
    """Seconds that checkpoints add to a step. The plain engine's are written behind the steps."""
    if recipe.engine.name == "plain":
        return 0.0
    return checkpoint_seconds(recipe, shape, asked.disk) / recipe.checkpoints.every_steps


def _memory_lines(recipe: AnyRecipe, shape: Shape, asked: Asked, gpu: Gpu) -> Iterator[str]:
    found = memory(recipe, shape, asked.gpus)
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
    yield from size_lines(shape, asked, parts)
    yield from host_lines(asked, found.state.host)
    yield from _stages(recipe, shape, asked, gpu)
    if gpu.memory is None:
        return
    if found.fits(gpu):
        yield f"fits: {room(asked, gpu)}"
        return
    near = nearest_fit(recipe, shape, asked.gpus, gpu)
    yield f"DOES NOT FIT: {room(asked, gpu)}"
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


def _time_lines(
    recipe: AnyRecipe, asked: Asked, done: Work | None, step: StepTime | None, saving: float
) -> Iterator[str]:
    if step is None:
        yield f"throughput: not known for {asked.gpu} and this precision; state --throughput (tokens a second of all)"
    else:
        speed = _tokens(recipe) / step.total
        yield f"throughput: {speed:,.0f} tokens a second, {speed / asked.gpus:,.0f} a GPU ({_assumed(recipe, asked)})"
        parts = {
            "computation": step.compute,
            "recomputation": step.recompute,
            "communication": step.communication,
            "offload": step.offload,
            "checkpoints": saving,
        }
        beside = f"; {step.hidden:,.2f} of communication beside computation" if step.hidden >= 0.005 else ""
        yield f"seconds a step: {step.total + saving:,.2f} ({parts_of(parts)}{beside})"
    if done is None:
        yield "tokens: not known, since the data is not here; state --tokens, or --samples for tuning"
        return
    yield f"tokens: {done.tokens:,.0f} an epoch, {done.epochs:g} epoch{'s' if done.epochs != 1 else ''} ({done.how})"
    if step is None:
        return
    hours = done.tokens * (step.total + saving) / _tokens(recipe) / 3600
    total = hours * done.epochs
    yield f"time: {hours:,.1f} hours an epoch, {total:,.1f} in all; {total * asked.gpus:,.0f} GPU-hours"
    yield from cost_lines(asked, total)


def _assumed(recipe: AnyRecipe, asked: Asked) -> str:
    gpu = GPUS[asked.gpu]
    if asked.throughput:
        return "as stated"
    if asked.utilisation:
        return f"{asked.utilisation:.0%} of {gpu.peak:g} TFLOP/s, as stated"
    again = ", recomputed operations among them" if recipe.model.activation_checkpointing else ""
    return (
        f"{gpu.utilisation:.0%} of {gpu.peak:g} TFLOP/s{again}, from {gpu.source}; held-out text and probes not counted"
    )


def _faster_lines(recipe: AnyRecipe, shape: Shape, asked: Asked) -> Iterator[str]:
    """What else fits and takes less time, or sends less."""
    if asked.utilisation or (better := faster(recipe, shape, asked.cluster)) is None:
        return
    now, then = step_time(recipe, shape, asked.cluster), step_time(better, shape, asked.cluster)
    if now and then:
        saved = 1 - then.total / now.total
        gain = f"{saved:.0%} less time" if saved >= 0.005 else "ranks send each other less, at the same speed"
        yield f"fits as well: {differences(recipe, better)}: {gain}"


def _launch_lines(recipe: AnyRecipe, shape: Shape, question: Question, step: StepTime | None) -> Iterator[str]:
    """How to start it, and what a scheduler must be told for the run to end with a checkpoint of its last step."""
    asked = question.asked
    size, seconds = checkpoint_bytes(recipe, shape), checkpoint_seconds(recipe, shape, asked.disk)
    yield f"a checkpoint: {size / 1e9:,.1f} GB, whole after {seconds:,.0f} s at {asked.disk / 1e9:g} GB/s for all ranks"
    command = launched(question)
    if asked.gpus == 1 and recipe.engine.name == "plain":
        yield f"launch: mellama-train {command}"
    elif asked.machines == 1:
        yield f"launch: torchrun --standalone --nproc_per_node {asked.gpus} -m mellama_train {command}"
    if step is None:
        return
    warning = warning_seconds(recipe, shape, asked.gpus, _tokens(recipe) / step.total, asked.disk)
    yield (
        f"warning before the end: {warning} s (two micro-batches, a checkpoint, and 30 s)\n"
        f"  sbatch --nodes {asked.machines} --signal=USR1@{warning} examples/cluster/train.sbatch {command}\n"
        f"  torchrun: TORCH_ELASTIC_SHUTDOWN_TIMEOUT={warning}, since it kills ranks 30 s after SIGTERM otherwise"
    )

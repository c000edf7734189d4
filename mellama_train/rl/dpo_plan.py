"""What a run of `dpo` will take: the memory of the trained model and of the reference, and the time.

The trained model is planned as any training is, on twice the rows, since a pair is two sequences. What comes to it:

    reference   all weights once more: parameters × bytes of a weight (4, under DeepSpeed those of the precision),
                shared among the ranks by ZeRO-3; nothing after LoRA, whose adapters are switched off instead, and
                nothing with precompute_reference
    step        forward and backward pass over 2 × pairs sequences, and a forward pass of the reference over the same
    precomputed the reference's passes over all pairs of the run, before the first step
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mellama_train.errors import DataError
from mellama_train.model.sizes import BYTES
from mellama_train.plan.gpus import Gpu
from mellama_train.plan.lines import accelerated, host_lines, hours_lines, parts_of, planned, room, size_lines
from mellama_train.plan.memory import Memory, has_room, memory
from mellama_train.plan.shapes import Shape
from mellama_train.plan.stopping import checkpoint_bytes
from mellama_train.plan.text import Plan
from mellama_train.plan.time import Machines, forward, step_time
from mellama_train.plan.work import Asked, Question
from mellama_train.recipe.config import Batch
from mellama_train.rl.dpo_recipe import DpoRecipe

SEQUENCES = 2
"""Of a pair: the prompt with each of its responses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairMemory:
    """Bytes of one rank: what the training takes, and the model of the start."""

    trained: Memory
    reference: float

    @property
    def device(self) -> float:
        """Bytes on the GPU at its fullest."""
        return self.trained.device + self.reference

    def fits(self, gpu: Gpu) -> bool:
        """Whether the GPU has room for it."""
        return has_room(gpu, self.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTime:
    """Seconds of one optimizer step, and of the reference's passes over its pairs before the first step."""

    training: float
    reference: float
    before: float

    @property
    def total(self) -> float:
        """Seconds from one step to the next."""
        return self.training + self.reference


def in_sequences(recipe: DpoRecipe) -> DpoRecipe:
    """The recipe with its batches counted in sequences, as all planning counts rows."""
    batch = recipe.batch
    return replace(recipe, batch=Batch(rows=SEQUENCES * batch.rows, micro_rows=SEQUENCES * batch.micro_rows))


def pair_memory(recipe: DpoRecipe, shape: Shape, gpus: int) -> PairMemory:
    """The memory of one rank."""
    by_deepspeed = recipe.engine.name == "deepspeed"
    sharded = gpus if by_deepspeed and recipe.engine.zero == 3 else 1
    keeps = recipe.lora is None and not recipe.precompute_reference
    width = BYTES[recipe.precision if by_deepspeed else "fp32"]
    return PairMemory(
        trained=memory(in_sequences(recipe), shape, gpus), reference=keeps * shape.parameters * width / sharded
    )


def pair_time(recipe: DpoRecipe, shape: Shape, machines: Machines) -> PairTime | None:
    """The time of a step over pairs of whole contexts; None where the GPU's figures are not known."""
    step = step_time(in_sequences(recipe), shape, machines)
    utilisation = machines.share if machines.share is not None else machines.gpu.utilisation
    if step is None or utilisation is None:
        return None
    tokens = SEQUENCES * recipe.batch.rows * recipe.context
    a_pass = tokens * forward(shape, recipe.context) / (machines.gpus * machines.gpu.peak * 1e12 * utilisation)
    at_once = not recipe.precompute_reference
    return PairTime(training=step.total, reference=a_pass if at_once else 0.0, before=0.0 if at_once else a_pass)


def forecast(recipe: DpoRecipe, question: Question) -> Plan:
    """The plan of a recipe of `dpo`. Raises `RecipeError`, `ModelLoadError`, and `DataError` for an unreadable file."""
    asked = question.asked
    shape, gpu = planned(recipe, question)
    found = pair_memory(recipe, shape, asked.gpus)
    length = int(asked.sample_tokens or recipe.context)
    time = pair_time(replace(recipe, context=length), shape, asked.cluster)
    seconds = time.total if time else None
    if asked.throughput:
        seconds = SEQUENCES * recipe.batch.rows * length / asked.throughput
    steps = _steps(recipe, asked)
    hours = steps * (seconds + (time.before if time else 0.0)) / 3600 if steps and seconds else None
    lines = [
        *_memory_lines(shape, asked, gpu, found),
        *_time_lines(recipe, asked, time, seconds, length),
        "steps: not known, since the data is not here; state --samples, the pairs of the data"
        if steps is None
        else f"steps: {steps:,} of {recipe.batch.rows:,} pairs",
        *(hours_lines(asked, hours) if hours is not None else ()),
        f"a checkpoint: {checkpoint_bytes(recipe, shape) / 1e9:,.1f} GB",
        accelerated(question),
    ]
    return Plan("\n".join(lines), found.fits(gpu), hours)


def _memory_lines(shape: Shape, asked: Asked, gpu: Gpu, found: PairMemory) -> Iterator[str]:
    trained = found.trained
    parts = {
        "weights": trained.state.weights,
        "gradients (summed in float32)": trained.state.gradients,
        "optimizer": trained.state.optimizer,
        "activations of both sequences": trained.activations,
        "logits": trained.logits,
        "buffers": trained.buffers,
        "of it on the CPU": -trained.state.host,
        "reference": found.reference,
        "together on the device": found.device,
    }
    yield from size_lines(shape, asked, parts)
    if not found.reference:
        yield "reference: no copy of the weights (adapters are switched off, or precompute_reference)"
    yield from host_lines(asked, trained.state.host)
    if gpu.memory is None:
        return
    if found.fits(gpu):
        yield f"fits: {room(asked, gpu)}"
        return
    yield (
        f"DOES NOT FIT: {room(asked, gpu)}; take engine: {{name: deepspeed, zero: 3}}, model.activation_checkpointing, "
        "precompute_reference, fewer micro_rows, lora, or more GPUs"
    )


def _time_lines(
    recipe: DpoRecipe, asked: Asked, time: PairTime | None, seconds: float | None, length: int
) -> Iterator[str]:
    longest = "" if asked.sample_tokens else ", the longest that there can be; --sample-tokens states their length"
    yield f"lengths: prompts with a response of {length:,} tokens{longest}"
    if asked.throughput:
        yield f"seconds a step: {seconds:,.1f}, at {asked.throughput:,.0f} tokens a second of both sequences as stated"
    elif time is None:
        yield f"time: not known for {asked.gpu} and this precision; state --throughput (tokens a second of all)"
    else:
        parts = {"training": time.training, "reference": time.reference}
        yield f"seconds a step: {time.total:,.2f} ({parts_of(parts)})"
        if recipe.precompute_reference:
            yield f"before the first step: {time.before:,.2f} seconds for the pairs of each step"


def _steps(recipe: DpoRecipe, asked: Asked) -> int | None:
    """Optimizer steps, where the recipe says them, or the number of pairs is known."""
    pairs = asked.samples or _pairs_here(recipe)
    return recipe.steps or (None if pairs is None else pairs * recipe.epochs // recipe.batch.rows)


def _pairs_here(recipe: DpoRecipe) -> int | None:
    """Lines of the files; None where one is not here, or is none of lines."""
    files = [
        file for file in recipe.data.pairs if isinstance(file, Path) and file.suffix == ".jsonl" and file.is_file()
    ]
    if len(files) < len(recipe.data.pairs):
        return None
    try:
        return sum(bool(line.strip()) for file in files for line in file.read_bytes().splitlines())
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from None

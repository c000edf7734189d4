"""What every plan says in the same words: on which machines, whether it fits, what it takes, how it is started."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from tabulate import tabulate

from mellama_train.errors import RecipeError
from mellama_train.plan.gpus import GPUS, Gpu
from mellama_train.plan.memory import GIB, USABLE
from mellama_train.plan.shapes import Shape, shape_of
from mellama_train.plan.work import Asked, Question, base_model
from mellama_train.recipe.config import Recipe


def planned(recipe: Recipe, question: Question) -> tuple[Shape, Gpu]:
    """The model and the GPU that are asked about.

    Raises `ModelLoadError`, and `RecipeError` where the rows cannot be divided among the GPUs.
    """
    asked = question.asked
    shape = shape_of(asked.model or base_model(question.file, recipe.model.path))
    if recipe.batch.rows % (asked.gpus * recipe.batch.micro_rows):
        raise RecipeError(
            f"batch.rows {recipe.batch.rows} cannot be divided among {asked.gpus} GPUs with "
            f"{recipe.batch.micro_rows} rows each; choose another number of GPUs, or other rows"
        )
    return shape, GPUS[asked.gpu]


def size_lines(shape: Shape, asked: Asked, parts: Mapping[str, float]) -> Iterator[str]:
    """The model, and a table of the bytes of a rank by what they are for."""
    yield f"model: {shape.parameters / 1e9:.2f}B parameters; {asked.gpus} × {asked.gpu}" + (
        f" on {asked.nodes} nodes" if asked.nodes else ""
    )
    rows = [(name, f"{size / GIB:.2f}") for name, size in parts.items() if size]
    yield tabulate(rows, ("a rank", "GiB"), colalign=("left", "right"), disable_numparse=True)


def host_lines(asked: Asked, host: float) -> Iterator[str]:
    """The memory of a node for the bytes of a rank that are on the CPU."""
    if host:
        yield f"memory of a node for what is offloaded: {host * asked.a_node / GIB:,.0f} GiB"


def room(asked: Asked, gpu: Gpu) -> str:
    """The memory that is counted on."""
    return f"{asked.gpu} has {gpu.memory:g} GiB, of which {USABLE:.0%} are counted on"


def parts_of(seconds: Mapping[str, float]) -> str:
    """What the seconds of a step go to, without what takes next to none."""
    return ", ".join(f"{name} {value:,.2f}" for name, value in seconds.items() if value >= 0.005)


def hours_lines(asked: Asked, hours: float) -> Iterator[str]:
    """The time of a whole run, and its price."""
    yield f"time: {hours:,.1f} hours in all; {hours * asked.gpus:,.0f} GPU-hours"
    yield from cost_lines(asked, hours)


def cost_lines(asked: Asked, hours: float) -> Iterator[str]:
    """What so many hours cost, where a price is stated."""
    if asked.price:
        yield f"cost: {hours * asked.gpus * asked.price:,.0f} USD at {asked.price:g} USD a GPU-hour"


def accelerated(question: Question) -> str:
    """How a trainer of TRL is started."""
    asked, command = question.asked, f"mellama-train {launched(question)}"
    if asked.gpus > 1:
        nodes = f"--num_machines {asked.machines} " if asked.machines > 1 else ""
        command = f"accelerate launch {nodes}--num_processes {asked.gpus} -m mellama_train {launched(question)}"
    return f"launch: {command}"


def launched(question: Question) -> str:
    """The words behind `mellama-train` that run what is planned."""
    changes = [part for key, value in question.changes for part in ("--set", f"{key}={value}")]
    return f"{question.command} {shlex.join([str(question.file), *changes])}"

"""`mellama-train plan`: the arithmetic of `mellama_train.plan.memory` for a recipe, as lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

import mibe
from mellama_train.errors import RecipeError
from mellama_train.plan.memory import GIB, GPUS, USABLE, Gpu, differences, memory, nearest_fit, tokens_a_second
from mellama_train.plan.shapes import Shape, shape_of
from mellama_train.recipe.config import FinetuneRecipe, PretrainRecipe, TaskData, TuningRecipe
from mellama_train.recipe.yaml_schema import load
from mibe.errors import MibeError

AnyRecipe = PretrainRecipe | TuningRecipe | FinetuneRecipe

CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user says about the run: the machines, and whatever is known better than the planner assumes."""

    gpus: int
    gpu: str
    nodes: int | None = None
    model: str | None = None
    tokens: float | None = None
    samples: int | None = None
    sample_tokens: float | None = None
    throughput: float | None = None
    utilisation: float | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        for name in ("gpus", "nodes", "tokens", "samples", "sample_tokens", "throughput", "utilisation", "price"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise RecipeError(f"--{name.replace('_', '-')}: {value} is out of range; it must be above 0")
        if self.nodes and self.gpus % self.nodes:
            raise RecipeError(f"{self.gpus} GPUs are not the same number on each of {self.nodes} nodes")


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens of one epoch, epochs, and how the tokens were found."""

    tokens: float
    epochs: float
    how: str


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
    ]
    return Plan("\n".join(lines), fits, hours)


def read_recipe(path: Path) -> AnyRecipe:
    """A recipe of any stage, told by its data: a folder (pretraining), a task (fine-tuning) or files (instructions)."""
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raw = None
    keys = raw if isinstance(raw, dict) else {}
    data = keys.get("data")
    if isinstance(data, dict) and "folder" in data:
        return load(path, PretrainRecipe)
    return load(path, FinetuneRecipe) if isinstance(data, dict) and "task" in data else load(path, TuningRecipe)


def work(recipe: AnyRecipe, asked: Asked) -> Work | None:
    """The tokens to be trained on, padding included; None where nothing tells."""
    epochs: float = 1
    if isinstance(recipe, PretrainRecipe):
        found = _pretraining(recipe, asked)
    else:
        found, samples = _samples(recipe, asked)
        epochs = recipe.epochs or (5 if samples is not None and samples < 10_000 else 3)
    if found is None:
        return None
    tokens, how = found
    if recipe.steps is not None and recipe.steps * recipe.batch.rows * recipe.context < tokens * epochs:
        return Work(recipe.steps * recipe.batch.rows * recipe.context, 1, f"{recipe.steps:,} steps of the recipe")
    return Work(tokens, epochs, how)


def _pretraining(recipe: PretrainRecipe, asked: Asked) -> tuple[float, str] | None:
    if asked.tokens:
        return asked.tokens, "--tokens"
    if recipe.data.tokens:
        return recipe.data.tokens, "data.tokens"
    try:
        about = json.loads((recipe.data.folder / "manifest.json").read_text())
    except (OSError, ValueError):
        steps = recipe.steps
        return (steps * recipe.batch.rows * recipe.context, "the steps of the recipe") if steps else None
    tokens = about["mixture"]["tokens"] or sum(entry["train"]["tokens"] for entry in about["sources"].values())
    return tokens, f"the corpus {recipe.data.folder}"


def _samples(recipe: TuningRecipe | FinetuneRecipe, asked: Asked) -> tuple[tuple[float, str] | None, int | None]:
    """((tokens of an epoch, how they were found), samples)."""
    if asked.tokens:
        return (asked.tokens, "--tokens"), asked.samples
    if asked.samples:
        each = asked.sample_tokens or recipe.context
        how = f"{asked.samples:,} samples of {each:,.0f} tokens"
        if not asked.sample_tokens:
            how += ", a whole row each, as padded without packing: an upper bound; --sample-tokens states their length"
        return (asked.samples * each, how), asked.samples
    if isinstance(recipe.data, TaskData):
        return _task_samples(recipe.data, recipe.context)
    files = [file for file in recipe.data.files if file.is_file()]
    if len(files) < len(recipe.data.files):
        return None, None
    samples, characters = 0, 0
    for file in files:
        with file.open(encoding="utf-8") as stream:
            for line in stream:
                samples += 1
                characters += len(line)
    how = f"{samples:,} samples in the files, {CHARACTERS_A_TOKEN} characters a token"
    return (characters / CHARACTERS_A_TOKEN, how), samples


def _task_samples(data: TaskData, context: int) -> tuple[tuple[float, str] | None, int | None]:
    try:
        samples = sum(1 for _ in mibe.examples(mibe.load_task(data.task), "train"))
    except MibeError:
        return None, None
    return (samples * context, f"{samples:,} samples of {data.task}, a whole row each: an upper bound"), samples


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
        per_node = asked.gpus // (asked.nodes or -(-asked.gpus // 8))
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
    found = {}
    for name, other in others.items():
        if (recipe.precision == "fp16" and other.sharding == "fsdp") or (
            recipe.lora and recipe.lora.four_bit and (other.sharding == "fsdp" or other.zero == 3)
        ):
            continue
        found[name] = memory(replace(recipe, engine=other), shape, asked.gpus)
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


def _assumed(asked: Asked, gpu: Gpu) -> str:
    if asked.throughput:
        return "as stated"
    if asked.utilisation:
        return f"{asked.utilisation:.0%} of {gpu.peak:g} TFLOP/s, as stated"
    return f"{gpu.utilisation:.0%} of {gpu.peak:g} TFLOP/s, from {gpu.source}; checkpoints and probes not counted"

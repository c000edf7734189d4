"""Whether a recipe fits its GPUs, and which one near it would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from mellama_train.errors import EngineError
from mellama_train.plan.gpus import Gpu
from mellama_train.plan.memory import GIB, memory, state
from mellama_train.plan.shapes import Shape
from mellama_train.plan.time import Machines, step_time
from mellama_train.recipe.config import EngineChoice, Recipe
from mellama_train.recipe.problems import FieldError


def on_engine(recipe: Recipe, engine: EngineChoice) -> Recipe | None:
    """The recipe on another engine, or None where it cannot run there."""
    try:
        return replace(recipe, engine=engine)
    except FieldError:
        return None


def nearest_fit(recipe: Recipe, shape: Shape, ranks: int, gpu: Gpu) -> Recipe | None:
    """The recipe that fits and costs the least speed: checkpointing first, then more sharding, then offload."""
    return next((other for other in _stronger(recipe) if memory(other, shape, ranks).fits(gpu)), None)


def _stronger(recipe: Recipe) -> Iterator[Recipe]:
    engine, batch, model = recipe.engine, recipe.batch, recipe.model
    if engine.name == "deepspeed":
        engines = [replace(engine, zero=zero) for zero in range(engine.zero, 4)]  # type: ignore[arg-type]
        engines += [replace(other, offload_optimizer=True) for other in engines]
        engines.append(replace(engine, zero=3, offload_optimizer=True, offload_parameters=True))
    else:
        sharded = replace(engine, sharding="fsdp")
        engines = [engine, sharded, replace(sharded, offload_optimizer=True, offload_parameters=True)]
    recipes = [found for other in engines if (found := on_engine(recipe, other))]
    checkpointing = sorted({model.activation_checkpointing, True})
    for other, rows, again in product(recipes, sorted({batch.micro_rows, 1}, reverse=True), checkpointing):
        yield replace(
            other,
            batch=replace(batch, micro_rows=rows),
            model=replace(model, activation_checkpointing=again),
        )


def faster(recipe: Recipe, shape: Shape, machines: Machines) -> Recipe | None:
    """The quickest recipe that fits and learns the same, where it saves time or what ranks send each other.

    Less recomputation, sharding and offload, and more rows at once; of equally quick ones that which sends least, and
    then changes least.
    """

    def worth(other: Recipe) -> tuple[float, float]:
        time = step_time(other, shape, machines)
        # To a thousandth, since a formula knows no better.
        return (float(f"{time.total:.3g}"), time.hidden) if time else (0.0, 0.0)

    fitting = [
        other for other in _lighter(recipe, machines.gpus) if memory(other, shape, machines.gpus).fits(machines.gpu)
    ]
    best = min(fitting, key=worth, default=None)
    return best if best and worth(best) < worth(recipe) else None


def _lighter(recipe: Recipe, ranks: int) -> Iterator[Recipe]:
    """The recipe with less of what saves memory, those that differ least first."""
    engine, batch, model = recipe.engine, recipe.batch, recipe.model
    engines = [engine]
    if engine.offload_optimizer or engine.offload_parameters:
        engines.append(replace(engine, offload_optimizer=False, offload_parameters=False))
    if engine.name == "deepspeed":
        engines += [replace(engines[-1], zero=zero) for zero in range(engine.zero - 1, 0, -1)]  # type: ignore[arg-type]
    elif engine.sharding == "fsdp":
        engines.append(replace(engines[-1], sharding="ddp"))
    able = [other for other in engines if on_engine(recipe, other)]
    more_rows = [batch.micro_rows * 2**power for power in range(5)]
    for rows, other, again in product(more_rows, able, sorted({model.activation_checkpointing, False}, reverse=True)):
        if batch.rows % (rows * ranks) == 0:
            yield replace(
                recipe,
                engine=other,
                batch=replace(batch, micro_rows=rows),
                model=replace(model, activation_checkpointing=again),
            )


def differences(before: Recipe, after: Recipe) -> str:
    """What to change in a recipe to get the other, as its keys are written."""
    found, wanted = _strategy(before), _strategy(after)
    return ", ".join(f"{key}: {str(value).lower()}" for key, value in wanted.items() if value != found[key])


def _strategy(recipe: Recipe) -> dict[str, object]:
    """The keys of a recipe that decide on memory and not on what is learned."""
    engine = recipe.engine
    return {
        "model.activation_checkpointing": recipe.model.activation_checkpointing,
        "batch.micro_rows": recipe.batch.micro_rows,
        "engine.sharding": engine.sharding,
        "engine.zero": engine.zero,
        "engine.offload_optimizer": engine.offload_optimizer,
        "engine.offload_parameters": engine.offload_parameters,
    }


def refuse_hopeless(recipe: Recipe, shape: Shape, ranks: int, room: float) -> None:
    """Raise `EngineError` where weights, gradients and optimizer alone are more than the `room` bytes of a GPU."""
    needed = state(recipe, shape, ranks).device
    if needed <= room:
        return
    near = nearest_fit(recipe, shape, ranks, Gpu(memory=room / GIB))
    advice = f"this would fit: {differences(recipe, near)}" if near else "take more GPUs, or LoRA"
    raise EngineError(
        f"the run does not fit: each rank would keep {needed / GIB:.0f} GiB beside activations, and a GPU has "
        f"{room / GIB:.0f}; {advice} (mellama-train plan shows it)"
    )

"""How fast a run will be: operations over the peak of the GPUs times the share of it that is reached."""

from __future__ import annotations

from mellama_train.plan.flops import Cost
from mellama_train.plan.gpus import Gpu
from mellama_train.plan.shapes import Shape
from mellama_train.recipe.config import Recipe


def cost(recipe: Recipe, shape: Shape) -> Cost:
    """Operations a token, as those of a loaded model are counted; looking up input embeddings is none."""
    used = shape.parameters - (0 if shape.tied else shape.vocabulary * shape.hidden)
    lora = recipe.lora
    return Cost.counted(
        trained=shape.adapters(lora.rank, lora.layers) if lora else used,
        frozen=used if lora else 0,
        layers=shape.layers,
        hidden=shape.hidden,
    )


def tokens_a_second(recipe: Recipe, shape: Shape, gpus: int, gpu: Gpu, utilisation: float | None) -> float | None:
    """Tokens a second of all GPUs over whole rows of the context; None where utilisation or peak is not known."""
    reached = utilisation if utilisation is not None else gpu.utilisation
    if reached is None or not gpu.peak:
        return None
    # float32 runs on other units, whose peak is not in the table.
    if recipe.precision == "fp32":
        return None
    return gpus * gpu.peak * 1e12 * reached / cost(recipe, shape).of(1, recipe.context)

"""How long before its end a job must be warned, so that nothing of it is lost."""

from __future__ import annotations

import math

from mellama_train.model.sizes import BYTES
from mellama_train.plan.shapes import Shape
from mellama_train.recipe.config import Recipe

DISK = 5e9
"""Bytes a second that all ranks together write or read on a shared file system: an assumption, and a modest one."""

MICRO_BATCHES_BEHIND = 2
"""Micro-batches that a GPU has yet to finish when the ranks turn."""

LEAVING = 30.0
"""Seconds for what is left: messages, and the processes' end."""


def checkpoint_bytes(recipe: Recipe, shape: Shape) -> float:
    """Size of a checkpoint: float32 weights and AdamW's two moments; DeepSpeed adds the weights in the precision."""
    return shape.trained(recipe.lora) * (12 + (BYTES[recipe.precision] if recipe.engine.name == "deepspeed" else 0))


def checkpoint_seconds(recipe: Recipe, shape: Shape, disk: float = DISK) -> float:
    """How long a checkpoint takes to be whole: it is written, and read once for its hashes."""
    return 2 * checkpoint_bytes(recipe, shape) / disk


def warning_seconds(recipe: Recipe, shape: Shape, ranks: int, tokens_a_second: float, disk: float = DISK) -> int:
    """How long before its end a job must be signalled: to whole ten seconds."""
    micro_batch = recipe.batch.micro_rows * recipe.context * ranks / tokens_a_second
    needed = MICRO_BATCHES_BEHIND * micro_batch + checkpoint_seconds(recipe, shape, disk) + LEAVING
    return 10 * math.ceil(needed / 10)

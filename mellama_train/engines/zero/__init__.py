"""DeepSpeed configurations: one JSON file a ZeRO stage, and what a recipe adds to it."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from mellama_train.errors import RecipeError
from mellama_train.recipe.config import Recipe
from mellama_train.rows.steps import accumulation

TAG = "deepspeed"
"""The folder of a checkpoint that DeepSpeed writes into."""

SECTIONS = ("zero_optimization", "checkpoint")
"""Keys of a configuration with keys below them, which are read here."""


def sharding(recipe: Recipe) -> dict[str, Any]:
    """`zero_optimization` of the recipe's stage, as the package has it and the user's own file changes it."""
    found: dict[str, Any] = _merged(_stage(recipe.engine.zero), _own(recipe))["zero_optimization"]
    return found


def configuration(recipe: Recipe, ranks: int, *, universal: bool) -> dict[str, Any]:
    """DeepSpeed's configuration for this recipe on so many ranks.

    The stage's file, then what the recipe says, then the keys of the user's own file (`engine.config`). `universal`
    reads checkpoints in the form that fits any number of ranks. Raises `RecipeError` for an unreadable file, and for
    a writer whose files are not there when a checkpoint is sealed.
    """
    engine = recipe.engine
    asked: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": recipe.batch.micro_rows,
        "gradient_accumulation_steps": accumulation(recipe.batch, ranks),
        "gradient_clipping": recipe.optimizer.clip_norm,
        "zero_optimization": {},
    }
    if recipe.precision == "bf16":
        asked["bf16"] = {"enabled": True}
    if recipe.precision == "fp16":
        asked["fp16"] = {"enabled": True}
    if engine.offload_optimizer:
        asked["zero_optimization"]["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if engine.offload_parameters:
        asked["zero_optimization"]["offload_param"] = {"device": "cpu", "pin_memory": True}
    if universal:
        asked["checkpoint"] = {"load_universal": True}
    found = _merged(_merged(_stage(engine.zero), asked), _own(recipe))
    writer = found.get("checkpoint", {}).get("writer")
    if isinstance(writer, dict) and writer.get("decoupled"):
        raise RecipeError(
            f"engine.config: {engine.config} sets checkpoint.writer.decoupled, which has files written after the "
            "checkpoint is sealed; leave it out"
        )
    return found


def _stage(number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((files(__package__) / f"stage{number}.json").read_text())
    return found


def _own(recipe: Recipe) -> dict[str, Any]:
    if recipe.engine.config is None:
        return {}
    try:
        found: Any = json.loads(recipe.engine.config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"engine.config: cannot read {recipe.engine.config}: {error}") from None
    if not isinstance(found, dict):
        raise RecipeError(f"engine.config: {recipe.engine.config} is no JSON object")
    for section in SECTIONS:
        if not isinstance(found.get(section, {}), dict):
            raise RecipeError(f"engine.config: {section} in {recipe.engine.config} is no JSON object")
    return found


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, key by key to the bottom."""
    both = dict(base)
    for key, value in over.items():
        both[key] = _merged(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both

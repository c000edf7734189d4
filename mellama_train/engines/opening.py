"""The engine that a recipe asks for. Neither is imported before it is wanted: DeepSpeed need not be installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mellama_train.engines.engine import Engine
from mellama_train.engines.ranks import Ranks
from mellama_train.errors import EngineError
from mellama_train.recipe.config import Recipe


def open_engine(recipe: Recipe, ranks: Ranks, *, resumed_from_ranks: int | None) -> Engine:
    """The engine of the recipe with the model loaded.

    `resumed_from_ranks` is the number of ranks that wrote the checkpoint which `load` will be given, None without one.
    Raises `EngineError` where its library is not there, `ModelLoadError` where the model cannot be loaded.
    """
    if recipe.engine.name == "deepspeed":
        other_ranks = resumed_from_ranks is not None and resumed_from_ranks != ranks.size
        engine: Engine = deepspeed_module().DeepSpeedEngine(recipe, ranks, universal=other_ranks)
        return engine
    plain: Engine = import_module("mellama_train.engines.plain").PlainEngine(recipe, ranks)
    return plain


def deepspeed_module() -> Any:
    """The module of the engine that stands on DeepSpeed, which settles at import what DeepSpeed does on a CPU.

    Raises `EngineError` where DeepSpeed is not installed.
    """
    try:
        return import_module("mellama_train.engines.deepspeed")
    except ImportError as error:
        raise EngineError(
            f"engine.name: deepspeed, which is not installed ({error}); "
            "`DS_BUILD_OPS=0 pip install deepspeed` brings it, `engine: {name: plain, sharding: fsdp}` does without"
        ) from error

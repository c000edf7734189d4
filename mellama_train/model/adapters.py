"""peft's adapters: put into a model, looked behind, and told from a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellama_train.errors import ModelLoadError, one_line
from mellama_train.recipe.config import Lora

if TYPE_CHECKING:
    import torch

ADAPTER_CONFIG = "adapter_config.json"


def adapter_settings(lora: Lora) -> Any:
    """peft's `LoraConfig` of a recipe. Raises `ModelLoadError` where peft is not installed."""
    try:
        import peft
    except ImportError as error:
        raise ModelLoadError('lora needs peft: pip install "mibe[train]"') from error
    layers: Any = "all-linear" if lora.layers == ("all-linear",) else list(lora.layers)
    return peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=layers,
        use_rslora=lora.variant == "rslora",
        use_dora=lora.variant == "dora",
        task_type="CAUSAL_LM",
    )


def add_adapters(model: Any, lora: Lora, dtype: torch.dtype) -> Any:
    """The model with peft's LoRA adapters, the only trainable weights. Raises `ModelLoadError` for unknown layers."""
    settings = adapter_settings(lora)
    from peft import get_peft_model

    try:
        adapted = get_peft_model(model, settings)
    except ValueError as error:
        raise ModelLoadError(f"lora.layers: {one_line(error)}") from error
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    return adapted


def bare(model: Any) -> Any:
    """The Hugging Face model itself, which peft's adapters (if any) have been put into."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def has_adapters(model: Any) -> bool:
    """Whether adapters are in the model and not yet in its weights."""
    return hasattr(model, "merge_and_unload")


def merge_first(path: str) -> str:
    """What to say of an adapter where a model is wanted."""
    return f"{path} is an adapter; merge it into its model first: mellama-train export {path} --merge-lora --to FOLDER"


def is_adapter_folder(path: str) -> bool:
    """True for a folder that holds peft's adapter and not a model."""
    return (Path(path) / ADAPTER_CONFIG).is_file() and not (Path(path) / "config.json").is_file()

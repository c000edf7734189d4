"""Whether what was trained goes with a model: by the shapes of weights, before one of them is put into another."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

ADAPTER_WEIGHTS = "adapter_model.safetensors"
LOW_RANK = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<side>A|B)\.weight")

Shape = tuple[int, ...]


def adapters_misfit(folder: Path, model: Any, tokenizer: Any) -> str | None:
    """Why LoRA adapters in a folder, with their tokenizer, are not of this model; None where nothing speaks against it.

    The first matrix of an adapter, (rank, inputs), and its second, (outputs, rank), say what layer they belong to.
    """
    layers = dict(model.named_modules())
    for name, shape in _adapter_shapes(folder).items():
        found = LOW_RANK.fullmatch(name)
        layer = layers.get(found["layer"]) if found else None
        if found and layer is None:
            return f"it has no {found['layer']}"
        if found and isinstance(layer, torch.nn.Linear):
            what, have, wanted = (
                ("inputs", layer.in_features, shape[1])
                if found["side"] == "A"
                else ("outputs", layer.out_features, shape[0])
            )
            if have != wanted:
                return f"{found['layer']} has {have} {what} in it, and the adapters {wanted}"
    embeddings = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > embeddings:
        return f"it knows {embeddings} tokens, and their tokenizer has {len(tokenizer)}"
    return None


def weights_misfit(kept: Mapping[str, Shape], trained: Mapping[str, torch.Tensor], known: Set[str]) -> str | None:
    """Why the weights of a checkpoint are not those `trained` of a model; `known` are the names of all its weights."""
    for name, weight in trained.items():
        if name not in kept:
            return f"it has {name}, and the checkpoint does not"
        if kept[name] != tuple(weight.shape):
            return f"{name} is {_by(tuple(weight.shape))} in it, and {_by(kept[name])} in the checkpoint"
    strange = next((name for name in kept if name not in known), None)
    return f"the checkpoint has {strange}, and it does not" if strange else None


def _adapter_shapes(folder: Path) -> dict[str, Shape]:
    """Name → shape of the adapters' weights; none where they are in another form, of which peft itself will judge."""
    file = folder / ADAPTER_WEIGHTS
    if not file.is_file():
        return {}
    with safe_open(file, framework="pt") as weights:
        return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118


def _by(shape: Shape) -> str:
    return " × ".join(map(str, shape))

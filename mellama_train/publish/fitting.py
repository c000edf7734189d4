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


def vocabulary_misfit(model: Any, tokenizer: Any) -> str | None:
    """Why a model cannot read what the tokenizer writes."""
    embeddings = model.get_input_embeddings().num_embeddings
    return (
        f"it knows {embeddings} tokens, and the tokenizer has {len(tokenizer)}" if len(tokenizer) > embeddings else None
    )


def adapters_misfit(folder: Path, model: Any, *, of_all_alike: bool) -> str | None:
    """Why LoRA adapters in a folder are not of this model; None where nothing speaks against it.

    The first matrix of an adapter, (rank, inputs), and its second, (outputs, rank), say what layer they belong to.
    `of_all_alike` layers have adapters where one has, as after a training of ours: a model with more layers is another.
    """
    layers = dict(model.named_modules())
    linear = {name: layer for name, layer in layers.items() if isinstance(layer, torch.nn.Linear)}
    found = [(LOW_RANK.fullmatch(name), shape) for name, shape in _adapter_shapes(folder).items()]
    parts = [(match["layer"], match["side"], shape) for match, shape in found if match]
    for layer, side, shape in parts:
        if layer not in layers:
            return f"it has no layer {layer}"
        if layer not in linear:
            # Of a class of the model's own, whose matrices may lie another way: peft judges.
            continue
        what, have = ("inputs", linear[layer].in_features) if side == "A" else ("outputs", linear[layer].out_features)
        wanted = shape[1 if side == "A" else 0]
        if have != wanted:
            return f"{layer} has {have} {what} in it, and the adapters {wanted}"
    adapted = {layer for layer, _, _ in parts}
    kinds = {_kind(layer) for layer in adapted}
    more = next((name for name in linear if _kind(name) in kinds and name not in adapted), None)
    return f"it has {more}, and the adapters do not" if of_all_alike and more else None


def _kind(layer: str) -> str:
    """What layers of one kind are called alike, as "model.layers.#.mlp.up_proj"."""
    return re.sub(r"\d+", "#", layer)


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

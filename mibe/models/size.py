"""How large a model is, as far as a document's arithmetic and memory hang on it: its weights, counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The weights of a decoder.

    `params` are all of them, each once, and `bytes` what they take as they are loaded (None: not known).
    `layer_params` are those that one token is multiplied by: the matrices of the layers, and of experts the share that
    is chosen for a token. `head_params` is the matrix that makes logits of it, tied to the embedding or not.
    `attention_width` is heads × head dimension: the width of the queries of one layer.
    """

    params: int
    bytes: int | None
    layer_params: int
    head_params: int
    layers: int
    attention_width: int


def size_of(model: object) -> Size | None:
    """The size that a model tells of itself; None where it tells none."""
    size = getattr(model, "size", None)
    return size if isinstance(size, Size) else None


def size_of_module(module: Any) -> Size | None:
    """The size of a `transformers` model in memory, adapters included.

    None where its weights are packed, as 4-bit ones are (their number is not that of their elements), and for models
    whose configuration names no attention heads.
    """
    config = module.config.get_text_config(decoder=True)
    layers, width = getattr(config, "num_hidden_layers", None), _attention_width(config)
    head = getattr(module.get_output_embeddings(), "weight", None)
    weights = {id(weight): (name, weight) for name, weight in _matrices(module)}
    every = list(module.parameters())
    if not layers or width is None or head is None or not all(weight.is_floating_point() for weight in every):
        return None
    share = _share_of_experts(config)
    weights.pop(id(head), None)
    of_layers = sum(
        weight.numel() * (share if "experts" in name.split(".") else 1) for name, weight in weights.values()
    )
    return Size(
        params=sum(weight.numel() for weight in every),
        bytes=sum(weight.numel() * weight.element_size() for weight in (*every, *module.buffers())),
        layer_params=round(of_layers),
        head_params=head.numel(),
        layers=layers,
        attention_width=width,
    )


def size_of_config(config: Any, *, itemsize: int | None) -> Size | None:
    """The size of the model with this configuration of `transformers`, without its weights being made.

    `itemsize` is the bytes of a weight, None where they are not of one kind. None for an architecture that
    `transformers` does not know, or cannot lay out without its weights.
    """
    torch, transformers = import_module("torch"), import_module("transformers")
    try:
        with torch.device("meta"):
            found = size_of_module(transformers.AutoModelForCausalLM.from_config(config))
    except (ValueError, KeyError, AttributeError, ImportError, TypeError, RuntimeError):
        # Code of others: that it fails costs a figure, and no run.
        return None
    return found and replace(found, bytes=None if itemsize is None else found.params * itemsize)


def _attention_width(config: Any) -> int | None:
    """Heads × head dimension; None where the configuration names no attention heads."""
    heads, hidden = getattr(config, "num_attention_heads", None), getattr(config, "hidden_size", None)
    head_dim = getattr(config, "head_dim", None) or (hidden // heads if heads and hidden else None)
    return heads * head_dim if heads and head_dim else None


def _matrices(module: Any) -> Iterator[tuple[str, Any]]:
    """(name of the module, weight) of what multiplies: nothing of one dimension, and no table that is looked up."""
    for name, part in module.named_modules():
        if not hasattr(part, "num_embeddings"):
            yield from ((name, weight) for weight in part.parameters(recurse=False) if weight.dim() > 1)


def _share_of_experts(config: Any) -> float:
    """The share of a layer's experts that one token goes through."""
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    count = next((found for name in names if (found := getattr(config, name, None))), None)
    chosen = getattr(config, "num_experts_per_tok", None)
    return 1.0 if not count or not chosen else min(1.0, chosen / count)

"""The shape of a model, and the GPUs that hold it: memory of weights, keys and values. All of it is arithmetic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from mibe.errors import UsageError

GIB = 2**30
USABLE = 0.9
"""Share of a GPU's memory that weights and cache may take; the rest is for activations and the engine."""

DTYPES: Mapping[str, float] = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1, "int8": 1, "int4": 0.5}
"""Bytes a parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the memory of a decoder depends on. The cache is that of grouped-query attention; 0 where not known."""

    params: float
    layers: int = 0
    kv_heads: int = 0
    head_dim: int = 0

    def weight_bytes(self, dtype: str) -> float:
        """Memory of the weights."""
        return self.params * DTYPES[dtype]

    def cache_bytes(self, dtype: str) -> float:
        """Memory of keys and values of one token: 2 × layers × kv heads × head dimension."""
        return 2 * self.layers * self.kv_heads * self.head_dim * DTYPES[dtype]


SHAPES: Mapping[str, Shape] = {
    "llama2-7b": Shape(params=6.74e9, layers=32, kv_heads=32, head_dim=128),
    "llama2-13b": Shape(params=13.02e9, layers=40, kv_heads=40, head_dim=128),
    "llama2-70b": Shape(params=68.98e9, layers=80, kv_heads=8, head_dim=128),
    "llama3-8b": Shape(params=8.03e9, layers=32, kv_heads=8, head_dim=128),
    "llama3-70b": Shape(params=70.55e9, layers=80, kv_heads=8, head_dim=128),
}
"""The models of the paper (Me-LLaMA is LLaMA-2) and their successors, from their published configurations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """GPUs at hand, and how many of them hold one copy of the model."""

    gpus: int
    per_copy: int

    def __post_init__(self) -> None:
        if not 1 <= self.per_copy <= self.gpus:
            raise UsageError(
                f"one copy of the model takes {self.per_copy} GPUs and there are {self.gpus}; "
                "give more --gpus, a larger --gpu-memory or a smaller --dtype"
            )

    @property
    def copies(self) -> int:
        """Copies that run side by side, each with its own documents."""
        return self.gpus // self.per_copy


def gpus_of_a_copy(shape: Shape, dtype: str, gpu_bytes: float) -> int:
    """The smallest power of two whose memory holds the weights and leaves a tenth beside them for keys and values."""
    wanted = ceil(shape.weight_bytes(dtype) * 1.1 / (gpu_bytes * USABLE))
    return 1 << (wanted - 1).bit_length()


def at_once(shape: Shape, dtype: str, gpu_bytes: float, fleet: Fleet, tokens: float) -> int | None:
    """Sequences of so many tokens whose keys and values fit beside the weights of one copy; None: shape not known."""
    each = shape.cache_bytes(dtype) * tokens
    if not each:
        return None
    return int(max(0.0, fleet.per_copy * gpu_bytes * USABLE - shape.weight_bytes(dtype)) // each)


def parse_dtype(text: str) -> str:
    """A precision in `DTYPES`. Raises `UsageError` for any other."""
    if text not in DTYPES:
        raise UsageError(f"unknown --dtype {text!r}; known: {', '.join(DTYPES)}")
    return text


def parse_fleet(gpus: int, per_copy: int | None, *, shape: Shape | None, dtype: str, gpu_bytes: float) -> Fleet:
    """The fleet; where it is not said how many GPUs hold a copy, as few as its weights need, or all."""
    if gpu_bytes <= 0:
        raise UsageError("--gpu-memory is a number of GiB, above 0")
    if per_copy is None:
        per_copy = gpus if shape is None else gpus_of_a_copy(shape, dtype, gpu_bytes)
    return Fleet(gpus=gpus, per_copy=per_copy)


def parse_shape(text: str) -> Shape:
    """A shape from a name in `SHAPES`, a model folder, or "params=70e9,layers=80,kv_heads=8,head_dim=128".

    Raises `UsageError` for anything else.
    """
    if text in SHAPES:
        return SHAPES[text]
    if (Path(text) / "config.json").is_file():
        return shape_of_folder(Path(text))
    known = f"give one of {', '.join(SHAPES)}, a model folder, or params=70e9,layers=80,kv_heads=8,head_dim=128"
    values: dict[str, float] = {}
    for piece in text.split(","):
        name, _, value = piece.partition("=")
        try:
            values[name.strip()] = parse_count(value)
        except ValueError:
            raise UsageError(f"--model-shape {text}: {piece!r} is not NAME=NUMBER; {known}") from None
    if "params" not in values or not set(values) <= {"params", "layers", "kv_heads", "head_dim"}:
        raise UsageError(f"--model-shape {text}: {known}")
    params = values.pop("params")
    return Shape(params=params, **{name: int(value) for name, value in values.items()})


def parse_count(text: str) -> float:
    """A positive number, with K, M, B or T for thousands and up. Raises ValueError."""
    units = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
    text = text.strip().upper()
    number = float(text[:-1]) * units[text[-1]] if text and text[-1] in units else float(text)
    if not 0 < number < float("inf"):
        raise ValueError(f"{text} is not a positive number")
    return number


def shape_of_folder(folder: Path) -> Shape:
    """The shape of a model in a folder, from its configuration and the size of its weight files."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        heads = config["num_attention_heads"]
        width = DTYPES[config.get("dtype") or config.get("torch_dtype") or "float32"]
        layers = config["num_hidden_layers"]
        head_dim = config.get("head_dim") or config["hidden_size"] // heads
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"--model-shape {folder}: its config.json does not give the shape of a decoder ({error})"
        ) from None
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if not size:
        raise UsageError(f"--model-shape {folder}: it has no *.safetensors to take the size of; give params=…")
    return Shape(
        params=size / width, layers=layers, kv_heads=config.get("num_key_value_heads") or heads, head_dim=head_dim
    )

"""Shapes of Llama-like models, from which parameters, memory and operations follow without loading anything."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mellama_train.errors import ModelLoadError, one_line
from mellama_train.recipe.config import Lora


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A decoder with grouped-query attention and a gated feed-forward layer; `kv` is key heads × head dimension."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    head_dim: int
    kv: int
    vocabulary: int
    tied: bool = False

    @property
    def linear(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of the linear layers of one block: q, k, v, o, gate, up, down."""
        h, q, f = self.hidden, self.heads * self.head_dim, self.feed_forward
        return ((h, q), (h, self.kv), (h, self.kv), (q, h), (h, f), (h, f), (f, h))

    @property
    def block(self) -> int:
        """Parameters of one block, its two norms included."""
        return sum(a * b for a, b in self.linear) + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters; tied ones once."""
        return self.layers * self.block + self.hidden + self.vocabulary * self.hidden * (1 if self.tied else 2)

    def trained(self, lora: Lora | None) -> int:
        """Parameters that are trained: the adapters', or all."""
        return self.adapters(lora.rank, lora.layers) if lora else self.parameters

    def adapters(self, rank: int, layers: tuple[str, ...]) -> int:
        """Parameters of LoRA on the named linear layers of each block ("all-linear": on all of them)."""
        names = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
        chosen = [ab for name, ab in zip(names, self.linear, strict=True) if "all-linear" in layers or name in layers]
        return self.layers * sum(rank * (a + b) for a, b in chosen)


def _llama(hidden: int, feed_forward: int, layers: int, heads: int, kv_heads: int, vocabulary: int = 32_000) -> Shape:
    dim = hidden // heads
    return Shape(
        hidden=hidden,
        feed_forward=feed_forward,
        layers=layers,
        heads=heads,
        head_dim=dim,
        kv=kv_heads * dim,
        vocabulary=vocabulary,
    )


SHAPES: Mapping[str, Shape] = {
    "llama2-7b": _llama(4096, 11008, 32, 32, 32),
    "llama2-13b": _llama(5120, 13824, 40, 40, 40),
    "llama2-70b": _llama(8192, 28672, 80, 64, 8),
    "llama3-8b": _llama(4096, 14336, 32, 32, 8, 128_256),
    "llama3-70b": _llama(8192, 28672, 80, 64, 8, 128_256),
}
"""The paper's models and their successors, from their published configurations."""


SIZES = ("hidden_size", "num_attention_heads", "intermediate_size", "num_hidden_layers", "vocab_size")
"""What a configuration must say of a Llama-like model."""


def shape_of(model: str) -> Shape:
    """The shape of a model: a folder with `config.json`, or a name like "llama2-13b" or "meta-llama/Llama-2-13b-hf".

    Raises `ModelLoadError`.
    """
    config = Path(model) / "config.json"
    if config.is_file():
        return _from_config(config)
    plain = re.sub(r"[^a-z0-9]", "", model.lower().split("/")[-1].replace("meta-", ""))
    for name, shape in SHAPES.items():
        if plain.startswith(name.replace("-", "")):
            return shape
    raise ModelLoadError(
        f"the shape of {model} is not known; give --model with a folder that has a config.json, or one of "
        f"{', '.join(SHAPES)}"
    )


def _from_config(path: Path) -> Shape:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"cannot read {path}: {one_line(error)}") from None
    if not isinstance(config, dict):
        raise ModelLoadError(f"{path} is no JSON object")
    kv_heads, dim = config.get("num_key_value_heads"), config.get("head_dim")
    sizes = {name: config.get(name) for name in SIZES}
    sizes |= {name: size for name, size in (("num_key_value_heads", kv_heads), ("head_dim", dim)) if size is not None}
    if missing := [name for name, size in sizes.items() if size is None]:
        raise ModelLoadError(f"{path} is not of a Llama-like model: it has no {', '.join(missing)}")
    if wrong := [name for name, size in sizes.items() if not isinstance(size, int) or size < 1]:
        raise ModelLoadError(f"{path}: {wrong[0]} is {sizes[wrong[0]]!r}, and should be a whole number above 0")
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    dim = dim or hidden // heads
    return Shape(
        hidden=hidden,
        feed_forward=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        head_dim=dim,
        kv=(kv_heads or heads) * dim,
        vocabulary=config["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", False)),
    )

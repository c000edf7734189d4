"""Attention within each document of packed rows, by the FlashAttention kernels that PyTorch itself carries.

Nothing has to be installed or compiled beside PyTorch, unlike the package flash-attn; the kernels are those of its
second version. They run on CUDA GPUs in bf16 and fp16.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, flash_attention_mask

from mellama_train.errors import ModelLoadError

NAME = "varlen"
"""The name under which transformers knows it."""

LONGEST_HEAD = 256
"""The longest attention head, in numbers, that the kernels know."""

BEYOND = {"attn_logit_softcapping": "caps its attention scores", "attention_dropout": "drops attention weights"}
"""Configuration keys of models whose attention computes what the kernels do not."""


def kernels() -> Any | None:
    """PyTorch's `varlen_attn`, where this PyTorch has one that knows causal windows (2.11 and newer)."""
    if importlib.util.find_spec("torch.nn.attention.varlen") is None:
        return None
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn if "window_size" in inspect.signature(varlen_attn).parameters else None


def obstacle(model: Any) -> str | None:
    """Why the attention of this model cannot be computed so; None where it can.

    A model has to take its attention from transformers' registry as FlashAttention's users do, and have no sinks.
    """
    config = model.config.get_text_config()
    for key, what in BEYOND.items():
        if getattr(config, key, None):
            return what
    if not (getattr(model, "_supports_flash_attn", False) and getattr(model, "_supports_sdpa", False)):
        return "has attention of its own"
    heads = getattr(config, "num_attention_heads", 1)
    length = getattr(config, "head_dim", None) or config.hidden_size // heads
    return f"has heads of {length} numbers" if length > LONGEST_HEAD or length % 8 else None


def use(model: Any) -> None:
    """Have a loaded model compute its attention so. Raises `ModelLoadError` where it cannot be."""
    kernel = kernels()
    if kernel is None:
        raise ModelLoadError("model.attention: varlen needs PyTorch 2.11 or newer; use sdpa")
    reason = obstacle(model)
    if reason:
        raise ModelLoadError(f"model.attention: varlen does not suit {type(model).__name__}, which {reason}; use auto")
    if "enable_gqa" in inspect.signature(kernel).parameters:
        kernel = partial(kernel, enable_gqa=True)
    transformers.AttentionInterface.register(NAME, partial(attend, kernel=kernel))
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, flash_attention_mask)
    model.set_attn_implementation(NAME)


@contextmanager
def set_aside(model: Any) -> Iterator[None]:
    """SDPA in its place for a while: what generates has caches and padding, of which this attention knows nothing."""
    if model.config._attn_implementation != NAME:
        yield
        return
    model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        model.set_attn_implementation(NAME)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    kernel: Any,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within documents that lie one behind the other in one row, as transformers calls it.

    `query` is (1, heads, tokens, length of a head), `key` and `value` the same with as many or fewer heads.
    `kernel` is PyTorch's `varlen_attn`; `cu_seq_lens_q` (documents + 1,) are the places at which documents begin, and
    the end. Returns (1, tokens, heads, length of a value). Raises `ModelLoadError` where a model's layers keep
    these for themselves (StableLM's, Nemotron's), which only a call shows.
    """
    if cu_seq_lens_q is None or max_length_q is None:
        raise ModelLoadError(
            f"model.attention: varlen does not suit {type(module).__name__}, which is not told where documents begin; "
            "use sdpa"
        )
    # Under autocast a norm of queries or keys gives float32, which the kernels do not know.
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else value.dtype
    q, k, v = (tensor[0].transpose(0, 1).to(dtype) for tensor in (query, key, value))
    length = v.shape[-1]
    out = kernel(
        q,
        k,
        F.pad(v, (0, q.shape[-1] - length)),
        cu_seq_lens_q,
        cu_seq_lens_q,
        max_length_q,
        max_length_q,
        scale=scaling,
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
    )
    return out[None, :, :, :length], None

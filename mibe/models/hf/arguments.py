"""The arguments of models in the Hugging Face format, and which of them say what a model is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mibe.models.arguments import positive, switch, whole

DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")


def _source(text: str) -> str:
    return str(Path(text).expanduser()) if text.startswith("~") else text


def _dtype(text: str) -> str:
    if text not in DTYPES:
        raise ValueError(f"must be one of {', '.join(DTYPES)}")
    return text


def _batch_size(text: str) -> int | None:
    return None if text == "auto" else positive(text)


def _chat_template(text: str) -> bool:
    if text not in ("auto", "off"):
        raise ValueError("must be auto (the tokenizer's own, where it has one) or off")
    return text == "auto"


def _device(text: str) -> str:
    kind = text.partition(":")[0]
    if kind not in ("cpu", "cuda", "mps", "xpu", "npu", "hpu"):
        raise ValueError("must be cpu, cuda, cuda:N, mps, xpu, npu or hpu")
    return text


ARGUMENTS: Mapping[str, Callable[[str], Any]] = {
    "pretrained": _source,
    "revision": str,
    "subfolder": str,
    "tokenizer": _source,
    "gguf_file": str,
    "trust_remote_code": switch,
    "use_fast_tokenizer": switch,
    "add_bos_token": switch,
    "chat_template": _chat_template,
    "max_length": positive,
    "prefix_token_id": whole,
    "dtype": _dtype,
    "mixed_precision_dtype": _dtype,
    "attn_implementation": str,
    "peft": _source,
    "delta": _source,
    "autogptq": switch,
    "gptqmodel": switch,
    "load_in_4bit": switch,
    "load_in_8bit": switch,
    "bnb_4bit_compute_dtype": _dtype,
    "bnb_4bit_quant_type": str,
    "bnb_4bit_use_double_quant": switch,
    "batch_size": _batch_size,
    "device": _device,
    "device_map": str,
    "parallelize": switch,
    "max_memory_per_gpu": str,
    "max_cpu_memory": str,
    "offload_folder": str,
}
"""Argument → converter from its text."""

PLACEMENT = frozenset(
    {
        "batch_size",
        "device",
        "device_map",
        "parallelize",
        "max_memory_per_gpu",
        "max_cpu_memory",
        "offload_folder",
    }
)
"""Arguments that say where a model runs and not what it is: no part of its identity."""

QUANTISATION = frozenset(
    {"load_in_4bit", "load_in_8bit", "bnb_4bit_compute_dtype", "bnb_4bit_quant_type", "bnb_4bit_use_double_quant"}
)
"""Arguments of bitsandbytes."""

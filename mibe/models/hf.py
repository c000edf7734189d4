"""Models in the Hugging Face format, from a folder or a hub: their arguments, and what is checked before loading.

Nothing here imports torch, so that a wrong argument or a missing file is an answer within a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mibe.errors import ModelError, UsageError
from mibe.models.arguments import convert, positive, switch, whole
from mibe.models.base import Model

DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")

WEIGHTS = ("*.safetensors", "*.bin", "*.gguf", "*.pt")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt", "spiece.model")


def load(args: Mapping[str, str]) -> Model:
    """The model in the folder or hub repository `pretrained`.

    `ARGUMENTS` lists all arguments. `batch_size` is a number or "auto" (by free memory, the default), and
    `chat_template=off` gives a chat model plain prompts; the others go to lm-eval's `HFLM` and so to transformers.
    """
    values = convert("hf", args, ARGUMENTS)
    if not values.get("pretrained"):
        raise UsageError("the model 'hf' needs pretrained=FOLDER or pretrained=HUB_NAME")
    return open_model(values)


def open_model(values: Mapping[str, Any], *, name: str | None = None) -> Model:
    """Load the model that the converted arguments describe.

    `name` is what tables call it: by default the folder's name, or the whole name on a hub. Raises `ModelError`
    when the model cannot be loaded, in one line.
    """
    pretrained = str(values["pretrained"])
    for key in ("pretrained", "tokenizer", "peft", "delta"):
        if key in values:
            check_exists(key, values[key])
    folder = Path(pretrained)
    if folder.is_dir():
        check_folder(folder / values.get("subfolder", ""), own_tokenizer="tokenizer" not in values)
        name = name or folder.resolve().name
    opened: Model = _library().HfModel.open(name or pretrained, values)
    return opened


def _library() -> Any:
    try:
        return import_module("mibe.models.hf_model")
    except ImportError as error:
        raise ModelError(f'models in the Hugging Face format need `pip install "mibe[hf]"` ({error})') from error


def from_loaded(model: Any, tokenizer: Any, *, name: str, batch_size: int = 8) -> Model:
    """A `transformers` model that is in memory already, such as one in training, with its tokenizer.

    It is used as it is, where it is, and never closed or cached: its weights may change between two runs. The
    tokenizer's padding and the model's generation settings are changed. Raises `ModelError` where the libraries of
    the extra `hf` are missing.
    """
    wrapped: Model = _library().HfModel.wrap(model, tokenizer, name=name, batch_size=batch_size)
    return wrapped


def check_exists(argument: str, source: str) -> None:
    """Raise `ModelError` for a folder that is not there. A hub name is "name" or "owner/name", never a deeper path."""
    path = Path(source)
    looks_local = path.is_absolute() or source.startswith(".") or len(path.parts) > 2
    if path.is_file():
        raise ModelError(f"{argument}={source} is a file; give the folder that holds the model")
    if looks_local and not path.exists():
        raise ModelError(f"{argument}={source}: there is no such folder")


def check_folder(folder: Path, *, own_tokenizer: bool = True) -> None:
    """Raise `ModelError` naming what is missing in a model folder: configuration, weights or tokenizer."""
    if not any(next(folder.glob(pattern), None) for pattern in WEIGHTS):
        raise ModelError(f"{folder} holds no weights (*.safetensors, *.bin); is the model in a folder below it?")
    if next(folder.glob("*.gguf"), None):
        return
    if not (folder / "config.json").is_file():
        hint = "; an adapter goes into peft=, its base model into pretrained=" if _is_adapter(folder) else ""
        raise ModelError(f"{folder} holds no config.json{hint}")
    if own_tokenizer and not any((folder / name).is_file() for name in TOKENIZERS):
        raise ModelError(f"{folder} holds no tokenizer; save it there, or name another folder by tokenizer=")


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


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

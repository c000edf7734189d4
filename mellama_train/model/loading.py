"""The model to train: loaded in the right precision, with adapters, kernels and checkpointing as the recipe says."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from mellama_train.errors import ModelLoadError, one_line
from mellama_train.model import varlen
from mellama_train.model.adapters import add_adapters, bare, is_adapter_folder, merge_first
from mellama_train.model.folders import looks_local
from mellama_train.recipe.config import FP8_MULTIPLE, ModelSource, Precision, Recipe

FLASH = ("flash_attention_3", "flash_attention_2")
"""FlashAttention by its names in transformers, the best first."""

PACKAGE = {"flash_attention_3": "flash_attn_interface", "flash_attention_2": "flash_attn"}

DTYPE = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

FP8_SCALES = "rowwise"
"""torchao's recipe with a scale for each token. With one for a whole row, documents in it would round one another."""

HOPPER = (9, 0)
"""Compute capability of the first GPUs that multiply FP8 with a scale for each row."""

LOAD_ERRORS = (
    *(OSError, ValueError, RuntimeError, ImportError, KeyError, AttributeError, TypeError, ArithmeticError),
    *(StrictDataclassError, SafetensorError, UnpicklingError),
)
"""What transformers raises for a model that is not whole: also for a value of its configuration or damaged weights."""


@contextmanager
def loading(path: str, what: str = "", advice: str = "") -> Iterator[None]:
    """What transformers raises for a model becomes one `ModelLoadError`, which never takes a folder for a hub's name.

    `what` of the model is loaded, as "the tokenizer of "; `advice` comes last.
    """
    is_here = Path(path).exists()
    if not is_here and looks_local(path):
        raise ModelLoadError(f"cannot load {what}{path}: there is no such folder{advice}")
    try:
        yield
    except LOAD_ERRORS as error:
        where = "" if is_here else "there is no such folder, and of the hub's: "
        raise ModelLoadError(f"cannot load {what}{path}: {where}{one_line(error)}{advice}") from error


def load_tokenizer(source: ModelSource) -> Any:
    """The tokenizer of the model, with the recipe's chat template. Raises `ModelLoadError`."""
    with loading(source.path, "the tokenizer of "):
        found: Any = transformers.AutoTokenizer.from_pretrained(source.path, trust_remote_code=source.trust_remote_code)
    if source.chat_template is not None:
        try:
            found.chat_template = source.chat_template.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelLoadError(f"cannot read model.chat_template {source.chat_template}: {error}") from None
    return found


def context_window(path: str) -> int | None:
    """Tokens that the model knows positions for, where its configuration says so. Raises `ModelLoadError`."""
    with loading(path, "the configuration of "):
        config = transformers.AutoConfig.from_pretrained(path)
    window: int | None = getattr(config, "max_position_embeddings", None)
    return window


def tokenizer_sha256(tokenizer: Any) -> str:
    """What a tokenizer makes of any text, as one hash: vocabulary, merges, normalisation and added tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(content.encode()).hexdigest()


def load_model(recipe: Recipe, device: torch.device, dtype: torch.dtype) -> Any:
    """The causal language model of the recipe.

    `dtype` is that of the weights that are trained; frozen ones under adapters are in the recipe's precision. Raises
    `ModelLoadError` in one line.
    """
    source, lora = recipe.model, recipe.lora
    model = read_model(recipe, device, dtype)
    if source.attention == varlen.NAME or (source.attention == "auto" and _varlen_is_best(model, recipe, device)):
        varlen.use(model)
    _check_layers(model, source.path)
    model.config.use_cache = False
    if source.liger:
        _apply_liger(model, device)
    if source.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model = add_adapters(model, lora, dtype) if lora else model
    if source.fp8:
        multiply_in_fp8(model, _fp8(device))
    if source.compile:
        _compile_layers(model)
    return model


def read_model(recipe: Recipe, device: torch.device, dtype: torch.dtype) -> Any:
    """The same as it is stored, whole and long enough for the context, with nothing of training put into it.

    Raises `ModelLoadError` in one line.
    """
    transformers.utils.logging.disable_progress_bar()
    source, lora = recipe.model, recipe.lora
    options: dict[str, Any] = {
        "dtype": DTYPE[recipe.precision] if lora else dtype,
        "attn_implementation": choose_attention(source.attention, recipe.precision, device),
        "trust_remote_code": source.trust_remote_code,
    }
    if lora and lora.four_bit:
        options["quantization_config"] = _four_bit(device, DTYPE[recipe.precision])
        options["device_map"] = {"": device}
    if is_adapter_folder(source.path):
        raise ModelLoadError(merge_first(source.path))
    with loading(source.path):
        model, found = transformers.AutoModelForCausalLM.from_pretrained(
            source.path, output_loading_info=True, **options
        )
    _refuse_random_weights(model, found["missing_keys"], source.path)
    window = getattr(model.config, "max_position_embeddings", None)
    if window is not None and recipe.context > window:
        raise ModelLoadError(f"context {recipe.context} is longer than the {window} positions that {source.path} knows")
    return model


def _refuse_random_weights(model: Any, missing: Iterable[str], path: str) -> None:
    """A weight that no file has is random after loading, of which transformers only warns."""
    lacking = sorted({*missing} & {name for name, _ in model.named_parameters()})
    if lacking:
        raise ModelLoadError(
            f"cannot load {path}: its files lack {lacking[0]}{f' and {len(lacking) - 1} more' if lacking[1:] else ''}, "
            f"which {type(model).__name__} has and would learn from random numbers; fetch the model again, or mend its "
            "config.json"
        )


def _compile_layers(model: Any) -> None:
    """Have each layer compiled when it is first called: as quick as the whole, and compiled once for all of them."""
    inner = bare(model)
    for layer in getattr(inner, inner.base_model_prefix).layers:
        layer.compile()


def choose_attention(wanted: str, precision: Precision, device: torch.device) -> str | None:
    """transformers' name of the attention to use. Raises `ModelLoadError` for one that cannot run here.

    None leaves it to transformers, which takes SDPA where the model has it and eager attention elsewhere; PyTorch's
    own variable-length attention is set after loading.
    """
    if wanted == "auto":
        can_flash = _can_flash(precision, device)
        found = [name for name in FLASH if can_flash and importlib.util.find_spec(PACKAGE[name])]
        return found[0] if found else None
    if wanted in (*FLASH, varlen.NAME):
        if device.type != "cuda":
            raise ModelLoadError(f"model.attention: {wanted} needs a CUDA GPU, and there is none here; use sdpa")
        if precision == "fp32":
            raise ModelLoadError(f"model.attention: {wanted} knows bf16 and fp16, not fp32; use sdpa")
    if wanted == varlen.NAME:
        return None
    if wanted in FLASH and importlib.util.find_spec(PACKAGE[wanted]) is None:
        raise ModelLoadError(f"model.attention: {wanted} needs the package {PACKAGE[wanted]}; use auto or varlen")
    return wanted


def _can_flash(precision: Precision, device: torch.device) -> bool:
    return device.type == "cuda" and precision != "fp32"


def _varlen_is_best(model: Any, recipe: Recipe, device: torch.device) -> bool:
    """Whether PyTorch's own kernels are the quickest here that are exact: no package has any, and they suit."""
    free = bare(model).config._attn_implementation not in FLASH and _can_flash(recipe.precision, device)
    return free and varlen.kernels() is not None and varlen.obstacle(model) is None


def trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """Name → parameter of what is trained; tied weights count once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def whole_shape(parameter: torch.nn.Parameter) -> tuple[int, ...]:
    """The shape of a weight, also where ZeRO-3 has laid its parts on the ranks."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def _four_bit(device: torch.device, compute: torch.dtype) -> Any:
    if device.type != "cuda" or importlib.util.find_spec("bitsandbytes") is None:
        raise ModelLoadError("lora.four_bit needs a CUDA GPU and the package bitsandbytes; leave it out for plain LoRA")
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


def _apply_liger(model: Any, device: torch.device) -> None:
    if device.type != "cuda" or importlib.util.find_spec("liger_kernel") is None:
        raise ModelLoadError("model.liger needs a CUDA GPU and the package liger-kernel; leave it out")
    from transformers.integrations.liger import apply_liger_kernel

    # The loss is ours: Liger's would take means of means.
    apply_liger_kernel(model, {"cross_entropy": False, "fused_linear_cross_entropy": False})


def multiply_in_fp8(model: Any, config: Any) -> None:
    """Have torchao exchange the linear layers for its own, in place; names and weights stay.

    The output layer keeps its precision, which the loss needs, and so does a layer whose sides FP8 does not take.
    """
    from torchao.float8 import convert_to_float8_training

    def fits(layer: torch.nn.Module, _name: str) -> bool:
        sides = (layer.in_features, layer.out_features) if isinstance(layer, torch.nn.Linear) else (1,)
        return not any(side % FP8_MULTIPLE for side in sides)

    convert_to_float8_training(getattr(model, model.base_model_prefix).layers, module_filter_fn=fits, config=config)


def _fp8(device: torch.device) -> Any:
    """torchao's settings. Raises `ModelLoadError` where they cannot be had."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < HOPPER:
        raise ModelLoadError("model.fp8 needs a GPU of Hopper's generation (H100) or newer; leave it out")
    try:
        from torchao.float8 import Float8LinearConfig
    except ImportError:
        raise ModelLoadError('model.fp8 needs torchao: pip install "mibe[fp8]"') from None
    return Float8LinearConfig.from_recipe_name(FP8_SCALES)


def _check_layers(model: Any, path: str) -> None:
    if not hasattr(bare(model), model.base_model_prefix):
        raise ModelLoadError(f"{path} is of a kind whose layers cannot be found ({type(model).__name__})")

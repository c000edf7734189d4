"""Loading through lm-eval's `HFLM`: quietly, and with every failure as one line."""

from __future__ import annotations

import logging
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
import transformers
from lm_eval.models.huggingface import HFLM
from safetensors import SafetensorError

from mibe.errors import ModelError
from mibe.models.hf.adapters import AdaptedHFLM
from mibe.models.hf.arguments import QUANTISATION
from mibe.models.text import one_line
from mibe.models.tokens import check_vocabulary
from mibe.terminal.news import say

LOAD_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    ImportError,
    KeyError,
    AttributeError,
    TypeError,
    AssertionError,
    SafetensorError,
    pickle.UnpicklingError,
)
"""What transformers, peft and quantisers raise for a model that is not as it should be."""

OWN = frozenset({"batch_size", "chat_template", "device"})
"""Arguments that mibe handles itself."""


class QuantisedHFLM(AdaptedHFLM):
    """`HFLM` with bitsandbytes as transformers 5 wants it: as a configuration, no longer as `load_in_4bit`."""

    def __init__(self, *, bitsandbytes: Mapping[str, Any], **kwargs: Any) -> None:
        self._bitsandbytes = {"quant_method": "bitsandbytes", **bitsandbytes}
        super().__init__(**kwargs)

    def _get_config(self, *args: Any, **kwargs: Any) -> None:
        super()._get_config(*args, **kwargs)
        self._config.quantization_config = self._bitsandbytes


def load_engine(values: Mapping[str, Any]) -> HFLM:
    """The lm-eval model for the converted arguments of `mibe.models.hf`.

    Raises `ModelError`, in one line, when it cannot be loaded, would run with weights that were never trained, or has
    fewer embeddings than its tokenizer has tokens.
    """
    pretrained = values["pretrained"]
    passed = {name: value for name, value in values.items() if name not in OWN | QUANTISATION}
    passed["device"] = choose_device(values.get("device"))
    if "device_map" in passed:
        # Without it `HFLM` drops the map, and the whole model goes to one device.
        passed["parallelize"] = True
    quantisation = {name: values[name] for name in QUANTISATION & values.keys()}
    if quantisation:
        check_quantiser()
    with quiet() as records:
        try:
            engine = QuantisedHFLM(bitsandbytes=quantisation, **passed) if quantisation else AdaptedHFLM(**passed)
        except LOAD_ERRORS as error:
            reason = mismatched_weights(records) or one_line(error)
            raise ModelError(f"cannot load {pretrained}: {reason}") from error
    if engine.backend != "causal":
        raise ModelError(f"{pretrained} is an encoder-decoder model; only decoder-only models can be scored")
    if untrained := untrained_weights(records):
        raise ModelError(f"the checkpoint {pretrained} lacks weights of its model ({untrained}); they would be random")
    check_vocabulary(engine.tokenizer, engine.model.get_input_embeddings().weight.shape[0], pretrained)
    if "attn_implementation" not in values and getattr(engine.model.config, "_attn_implementation", "") == "eager":
        say(f"{pretrained} has no sdpa attention in this transformers: it runs with eager, which is slower")
    return engine


def check_quantiser() -> None:
    """Raise `ModelError` where bitsandbytes is not installed, or has no build for this machine."""
    try:
        import_module("bitsandbytes")
    except (ImportError, OSError, RuntimeError) as error:
        raise ModelError(
            f"load_in_4bit and load_in_8bit need bitsandbytes: pip install bitsandbytes ({one_line(error)})"
        ) from error


def choose_device(wanted: str | None) -> str:
    """The device to use: the one wanted, or the accelerator there is, or the CPU.

    Raises `ModelError` when an accelerator is wanted that is not there.
    """
    if wanted is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted.startswith("cuda"):
        count = torch.cuda.device_count()
        number = wanted.partition(":")[2] or "0"
        if not number.isdigit() or int(number) >= count:
            raise ModelError(f"device={wanted}: this machine has {count} CUDA devices that torch can use")
    elif (kind := wanted.partition(":")[0]) != "cpu" and not _has(kind):
        raise ModelError(f"device={wanted}: this machine has no {kind} that torch can use")
    return wanted


def _has(kind: str) -> bool:
    backend = torch.backends.mps if kind == "mps" else getattr(torch, kind, None)
    return backend is not None and bool(backend.is_available())


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Keep the messages and progress bars of other libraries off the screen; yields the warnings of transformers."""
    collected = _Collector()
    libraries = logging.getLogger("transformers"), logging.getLogger("lm_eval")
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in libraries]
    bars = transformers.utils.logging.is_progress_bar_enabled()
    try:
        for logger, level in zip(libraries, (logging.WARNING, logging.ERROR), strict=True):
            logger.handlers, logger.propagate = [collected], False
            logger.setLevel(level)
        transformers.utils.logging.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield collected.messages
    finally:
        for logger, handlers, level, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
        if bars:
            transformers.utils.logging.enable_progress_bar()


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def mismatched_weights(messages: list[str]) -> str:
    """What transformers reports as being of another shape than the configuration says; "" when nothing is."""
    found = re.findall(
        r"^(.+?)\s*\|\s*MISMATCH\s*\|.*?ckpt: torch\.Size\((\[.*?\])\) vs model: ?torch\.Size\((\[.*?\])\)",
        _report(messages, "MISMATCH"),
        re.MULTILINE,
    )
    if not found:
        return ""
    name, stored, expected = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{name} is {stored} in the checkpoint and {expected} by config.json{more}"


def untrained_weights(messages: list[str]) -> str:
    """Names of the weights that transformers reports as missing and newly initialised; "" when there are none."""
    plain = _report(messages, "newly initialized")
    names: list[str] = re.findall(r"^(.+?)\s*\|\s*MISSING", plain, re.MULTILINE)
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "") if names else plain[:200]


def _report(messages: list[str], about: str) -> str:
    """What transformers logged about loading, without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(message for message in messages if about in message))

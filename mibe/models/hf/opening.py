"""Models in the Hugging Face format, from a folder or a hub: their arguments, and what is checked before loading.

Nothing here imports torch, so that a wrong argument or a missing file is an answer within a fraction of a second.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mibe.errors import ModelError, UsageError
from mibe.models.arguments import convert
from mibe.models.base import Model
from mibe.models.folders import check_exists, check_folder
from mibe.models.hf import checks
from mibe.models.hf.arguments import ARGUMENTS
from mibe.terminal.news import say

ENGINE = "mibe.models.hf.model"
"""The module that imports the libraries."""


def load(args: Mapping[str, str]) -> Model:
    """The model in the folder or hub repository `pretrained`.

    `ARGUMENTS` lists all arguments. `batch_size` is a number or "auto" (by free memory, the default),
    `attn_implementation` "auto" (the default) is sdpa where the model has it and eager elsewhere, and
    `chat_template=off` gives a chat model plain prompts; the others go to lm-eval's `HFLM` and so to transformers.
    """
    values = convert("hf", args, ARGUMENTS)
    if not values.get("pretrained"):
        raise UsageError("the model 'hf' needs pretrained=FOLDER or pretrained=HUB_NAME")
    if values.get("attn_implementation") == "auto":
        del values["attn_implementation"]
    return open_model(values)


def open_model(values: Mapping[str, Any], *, name: str | None = None) -> Model:
    """Load the model that the converted arguments describe.

    `name` is what tables call it: by default the folder's name, or the whole name on a hub. Raises `ModelError`
    when the model cannot be loaded, in one line.
    """
    pretrained = str(values["pretrained"])
    checks.check(values)
    for key in ("pretrained", "tokenizer", "peft", "delta"):
        if key in values:
            check_exists(key, values[key])
    folder = Path(pretrained)
    if folder.is_dir():
        check_folder(folder / values.get("subfolder", ""), own_tokenizer="tokenizer" not in values)
        name = name or folder.resolve().name
    say(f"loading {pretrained} …")
    if ENGINE not in sys.modules:
        say("importing torch and transformers, which takes some seconds …")
    opened: Model = _library().HfModel.open(name or pretrained, values)
    return opened


def _library() -> Any:
    try:
        return import_module(ENGINE)
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

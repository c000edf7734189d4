"""Models run by vLLM: their own arguments, and what is checked before the engine starts.

Nothing here imports vLLM, which takes some ten seconds, so that a missing file is an answer at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from mibe.errors import ModelError, UsageError
from mibe.models.arguments import convert
from mibe.models.base import Model
from mibe.models.folders import check_exists, check_folder
from mibe.models.vllm.arguments import ELSEWHERE, ENVIRONMENT, OWN
from mibe.terminal.news import say

ENGINE = "mibe.models.vllm.model"
"""The module that imports vLLM."""

INSTALL = 'pip install "mibe[vllm]"'


def load(args: Mapping[str, str]) -> Model:
    """The model in the folder or hub repository `pretrained`, run by vLLM's engine.

    `lora` is a folder with a LoRA adapter, `chat_template=off` gives a chat model plain prompts; all others are
    vLLM's engine arguments (`dtype`, `max_model_len`, `tensor_parallel_size`, …).
    """
    values = convert("vllm", {name: text for name, text in args.items() if name in OWN}, OWN)
    engine = {name: text for name, text in args.items() if name not in OWN}
    if not values.get("pretrained"):
        raise UsageError("the model 'vllm' needs pretrained=FOLDER or pretrained=HUB_NAME")
    for name in ELSEWHERE.keys() & engine.keys():
        raise UsageError(f"vLLM has no {name}=: {ELSEWHERE[name]}")
    for name, source in {**engine, **values}.items():
        if name in ("pretrained", "tokenizer", "lora"):
            check_exists(name, source)
    folder = Path(values["pretrained"])
    if folder.is_dir():
        check_folder(folder, own_tokenizer="tokenizer" not in engine)
    if find_spec("vllm") is None:
        raise ModelError(f"the model 'vllm' needs `{INSTALL}`")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    say(f"loading {values['pretrained']} …")
    if ENGINE not in sys.modules:
        say("importing vLLM, which takes ten seconds or more; its engine starts then …")
    try:
        # vLLM prints what it thinks of Triton when it is imported.
        with contextlib.redirect_stderr(io.StringIO()):
            module = import_module(ENGINE)
    except ImportError as error:
        raise ModelError(f"vLLM is installed and cannot be imported ({error}); see `{INSTALL}`") from error
    name = folder.resolve().name if folder.is_dir() else values["pretrained"]
    model: Model = module.VllmModel.open(name, values, engine)
    return model

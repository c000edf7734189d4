"""What a model of this engine is known by: all that bears on its outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_eval.models.huggingface import HFLM

from mibe.models.hf.arguments import PLACEMENT
from mibe.models.identity import Identify, source_identity


def sources(values: Mapping[str, Any]) -> dict[str, str]:
    """The arguments that name a folder or a hub's repository, each with what it names."""
    named = ("pretrained", "tokenizer", "peft", "delta")
    return {argument: _with_subfolder(argument, values) for argument in named if argument in values}


def identity(
    engine: HFLM, values: Mapping[str, Any], *, chat: bool, identify: Identify = source_identity
) -> dict[str, Any] | None:
    """Content of weights, tokenizer and adapter, precision, chat template and every argument that bears on outputs.

    None, and so no caching, when the commit of something from a hub is not known.
    """
    revision = values.get("revision", "main")
    known: dict[str, Mapping[str, str] | None] = {
        argument: identify(source, revision) for argument, source in sources(values).items()
    }
    commit = getattr(engine.config, "_commit_hash", None)
    if commit is not None and not Path(values["pretrained"]).is_dir():
        known["pretrained"] = {"repository": values["pretrained"], "commit": commit}
    if None in known.values():
        return None
    template = str(engine.tokenizer.chat_template) if chat else None
    others = {k: v for k, v in values.items() if k not in PLACEMENT | known.keys() | {"revision", "chat_template"}}
    return {
        "model": "hf",
        **known,
        "dtype": str(engine.model.dtype).removeprefix("torch."),
        "chat_template": template and hashlib.sha256(template.encode()).hexdigest(),
        **others,
    }


def _with_subfolder(argument: str, values: Mapping[str, Any]) -> str:
    source = str(values[argument])
    folder = Path(source) / values.get("subfolder", "")
    return str(folder) if argument == "pretrained" and folder.is_dir() else source

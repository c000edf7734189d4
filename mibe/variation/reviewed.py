"""The data files of this room, each of one kind and short enough to be reviewed by eye (`docs/robustness.md`)."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def reviewed(name: str) -> dict[str, Any]:
    """The content of a file of this folder: "wordings", "noise" or "attributes"."""
    content: dict[str, Any] = json.loads(files("mibe.variation").joinpath(f"{name}.json").read_text(encoding="utf-8"))
    return content

"""What ends an answer, in the settings that a model generates by: also what was learned, and its base did not know."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mellama_train.model.adapters import bare, has_adapters

SETTINGS = "generation_config.json"


def add_ends(model: Any, ends: Iterable[int]) -> None:
    """Let generation end at these tokens too, behind those that the model came with."""
    settings = getattr(bare(model), "generation_config", None)
    if settings is None:
        return
    known = settings.eos_token_id
    both = [*(known if isinstance(known, list) else [] if known is None else [known]), *ends]
    both = list(dict.fromkeys(both))
    settings.eos_token_id = both[0] if len(both) == 1 else both or None


def save_settings_of_adapters(model: Any, folder: Path) -> None:
    """Put the settings beside adapters, with which peft saves none; a whole model has saved its own."""
    settings = getattr(bare(model), "generation_config", None)
    if has_adapters(model) and settings is not None:
        settings.to_json_file(folder / SETTINGS)

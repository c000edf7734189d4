"""What can be said of a model by its folder alone, without a library: whether it is there, whole, and long enough."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mellama_train.model.adapters import is_adapter_folder, merge_first
from mellama_train.recipe.problems import LONGEST_NAME, has_too_long_name

CONFIG = "config.json"
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
LFS_POINTER = b"version https://git-lfs"
"""What a clone without Git LFS has in place of each large file."""
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def looks_local(name: str) -> bool:
    """Whether a name that may be a hub's ("name", "owner/name") can only be that of a folder, there or not.

    What would be an owner's name, and is a folder here, is taken for the folder.
    """
    parts = Path(name).parts
    written = not HUB_NAME.fullmatch(name) or name.startswith((".", "~"))
    return written or (len(parts) == 2 and Path(parts[0]).is_dir())


def problem_of(path: str) -> str | None:
    """Why no model can be loaded from a folder; None for one that looks whole, and for a name that a hub may know."""
    folder = Path(path)
    if not path.strip():
        return "it is empty; give a folder, or a hub's name"
    if has_too_long_name(path):
        return f"there is no folder {path}: a name in it has more than {LONGEST_NAME} bytes"
    if folder.is_file():
        return f"{path} is a file; give the folder that holds the model"
    if not folder.exists():
        return f"there is no folder {path}{_nearest(folder)}" if looks_local(path) else None
    if is_adapter_folder(path):
        return merge_first(path)
    if not (folder / CONFIG).is_file():
        inner = next((name for name in ("final", "best") if (folder / name / CONFIG).is_file()), None)
        hint = f"; the model is in {folder / inner}" if inner else ", so it is no model in the Hugging Face format"
        return f"{path} holds no {CONFIG}{hint}"
    if config_of(path) is None:
        return f"{folder / CONFIG} is damaged (no JSON object)"
    return _problem_of_weights(folder)


def config_of(path: str) -> dict[str, Any] | None:
    """The configuration in a model's folder; None where there is none, or it is not JSON."""
    found = _json(Path(path) / CONFIG)
    return found if isinstance(found, dict) else None


def window_of(path: str) -> int | None:
    """Tokens that the model of a folder knows positions for, where its configuration says so."""
    window = (config_of(path) or {}).get("max_position_embeddings")
    return window if isinstance(window, int) else None


def _problem_of_weights(folder: Path) -> str | None:
    for name in INDEXES:
        index = _json(folder / name)
        named = set(index.get("weight_map", {}).values()) if isinstance(index, dict) else set()
        if missing := sorted(file for file in named if not (folder / file).is_file()):
            more = f" and {len(missing) - 1} more files" if len(missing) > 1 else ""
            return f"{folder} lacks {missing[0]}{more}, which {name} lists; fetch the model again"
    weights = [file for pattern in WEIGHTS for file in sorted(folder.glob(pattern))]
    if not weights:
        return f"{folder} holds no weights (*.safetensors or *.bin)"
    pointer = next((file for file in weights if _begins(file, LFS_POINTER)), None)
    return f"{pointer} is a pointer of Git LFS and no weights; fetch them: git lfs pull" if pointer else None


def _begins(file: Path, start: bytes) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(len(start)) == start
    except OSError:
        return False


def _nearest(folder: Path) -> str:
    """What of the path is there, for whoever mistyped the rest."""
    if folder.parts[:1] == ("~",):
        return "; write the home folder out"
    there = next((parent for parent in folder.parents if parent.is_dir()), None)
    names = sorted(path.name for path in there.iterdir() if path.is_dir()) if there and there != Path() else []
    return f"; {there} holds {', '.join(names[:5])}{', …' if len(names) > 5 else ''}" if names else ""


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None

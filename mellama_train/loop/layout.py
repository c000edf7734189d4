"""What stands where in a run's output folder, and what of it can be told without a library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CHECKPOINTS, FINAL, BEST, LOCK = "checkpoints", "final", "best", ".lock"

STATE, ENGINE, SEAL = "state.json", "engine", "COMPLETE.json"
"""In a checkpoint's folder."""

RECORD = "run.json"
"""In a finished model's folder: the record of its run; and in a checkpoint of a trainer of transformers."""


def folders_of(checkpoints: Path) -> list[Path]:
    """The folders of checkpoints, the oldest first, whole or not."""
    return sorted(path for path in checkpoints.glob("step-*") if path.is_dir() and path.suffix != ".partial")


HF_PREFIX = "checkpoint-"
"""Of the folders that transformers' trainers write, and then the number of steps."""


def hf_checkpoints(checkpoints: Path) -> list[Path]:
    """The sealed checkpoints of a trainer of transformers, the newest first: a record was put into each last."""
    sealed = [path for path in checkpoints.glob(f"{HF_PREFIX}*") if hf_record(path)]
    return sorted(sealed, key=hf_step, reverse=True)


def newest_hf_checkpoint(checkpoints: Path) -> Path | None:
    """The newest of these whose files are as long as they were."""
    return next((path for path in hf_checkpoints(checkpoints) if hf_damage(path) is None), None)


def hf_record(checkpoint: Path) -> dict[str, Any]:
    """The record in such a checkpoint; an empty one where there is none, or it was never written to its end."""
    try:
        found = json.loads((checkpoint / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def hf_sizes(checkpoint: Path) -> dict[str, int]:
    """Relative name → bytes of each file but the record, which has them."""
    files = (path for path in checkpoint.rglob("*") if path.is_file() and not path.name.startswith(RECORD))
    return {str(path.relative_to(checkpoint)): path.stat().st_size for path in files}


def hf_damage(checkpoint: Path) -> str | None:
    """What is wrong with a sealed checkpoint, by the sizes of its files; None for a whole one."""
    there = hf_sizes(checkpoint)
    wrong = [name for name, size in hf_record(checkpoint).get("files", {}).items() if there.get(name) != size]
    return f"{wrong[0]} is missing or cut short" if wrong else None


def hf_step(checkpoint: Path) -> int:
    """The optimizer steps that such a checkpoint has behind it."""
    return int(checkpoint.name.removeprefix(HF_PREFIX))


def newest_folder(checkpoints: Path) -> Path | None:
    """The newest sealed checkpoint, its contents not looked at."""
    return next((found for found in reversed(folders_of(checkpoints)) if (found / SEAL).is_file()), None)

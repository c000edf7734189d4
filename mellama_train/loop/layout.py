"""What stands where in a run's output folder, and what of it can be told without a library."""

from __future__ import annotations

from pathlib import Path

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


def newest_hf_checkpoint(checkpoints: Path) -> Path | None:
    """The newest checkpoint of a trainer of transformers that is whole: a record was put into it last."""
    whole = [path for path in checkpoints.glob(f"{HF_PREFIX}*") if (path / RECORD).is_file()]
    return max(whole, key=hf_step, default=None)


def hf_step(checkpoint: Path) -> int:
    """The optimizer steps that such a checkpoint has behind it."""
    return int(checkpoint.name.removeprefix(HF_PREFIX))


def newest_folder(checkpoints: Path) -> Path | None:
    """The newest sealed checkpoint, its contents not looked at."""
    return next((found for found in reversed(folders_of(checkpoints)) if (found / SEAL).is_file()), None)

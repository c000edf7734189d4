"""What stands where in a run's output folder, and what of it can be told without a library."""

from __future__ import annotations

from pathlib import Path

CHECKPOINTS, FINAL, BEST, LOCK = "checkpoints", "final", "best", ".lock"

STATE, ENGINE, SEAL = "state.json", "engine", "COMPLETE.json"
"""In a checkpoint's folder."""

RECORD = "run.json"
"""In a finished model's folder: the record of its run."""


def folders_of(checkpoints: Path) -> list[Path]:
    """The folders of checkpoints, the oldest first, whole or not."""
    return sorted(path for path in checkpoints.glob("step-*") if path.is_dir() and path.suffix != ".partial")


def newest_folder(checkpoints: Path) -> Path | None:
    """The newest sealed checkpoint, its contents not looked at."""
    return next((found for found in reversed(folders_of(checkpoints)) if (found / SEAL).is_file()), None)

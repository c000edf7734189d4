"""What an export is asked for, looked at before anything is loaded: all that is wrong at once, without a library."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mibe
from mellama_train.errors import ExportError
from mellama_train.loop.layout import CHECKPOINTS, FINAL, STATE, folders_of, newest_folder, newest_hf_checkpoint
from mellama_train.model.adapters import is_adapter_folder
from mellama_train.model.folders import CONFIG, problem_of
from mellama_train.recipe.problems import LONGEST_NAME, has_too_long_name
from mibe.errors import RunError


@dataclass(frozen=True, slots=True)
class Left:
    """What training left: a folder with a model or adapters, a checkpoint, or a folder of checkpoints."""

    kind: Literal["model", "adapters", "checkpoint", "checkpoints"]
    folder: Path

    @property
    def has_adapters(self) -> bool:
        """Whether adapters stand beside the weights of their model, as far as files tell."""
        if self.kind in ("model", "adapters"):
            return self.kind == "adapters"
        step = self.folder if self.kind == "checkpoint" else newest_folder(self.folder)
        try:
            return step is not None and json.loads((step / STATE).read_text())["recipe"]["lora"] is not None
        except (OSError, ValueError, KeyError, TypeError):
            # Damaged, which is said when it is opened.
            return True


def find(path: Path) -> Left:
    """What is at a path: a run's output folder, its model folder or one of its checkpoints. Raises `ExportError`."""
    if has_too_long_name(str(path)) or not path.is_dir():
        raise ExportError(f"{path} is no folder; give a run's output folder, its {FINAL}/ or one of its checkpoints")
    for folder in (path, path / FINAL):
        if is_adapter_folder(str(folder)):
            return Left("adapters", folder)
        if (folder / CONFIG).is_file():
            return Left("model", folder)
        if (folder / STATE).is_file():
            return Left("checkpoint", folder)
    if folders_of(path / CHECKPOINTS):
        return Left("checkpoints", path / CHECKPOINTS)
    if newest := newest_hf_checkpoint(path / CHECKPOINTS):
        return find(newest)
    if (path.parent / STATE).is_file():
        raise ExportError(f"{path} is the inside of a checkpoint; give the folder around it: {path.parent}")
    if (path / "latest").is_file() or any(path.glob("*_model_states.pt")):
        raise ExportError(
            f"{path} is DeepSpeed's own checkpoint and tells nothing of its model; make weights of it by "
            f"`python -m deepspeed.utils.zero_to_fp32 {path} FOLDER --safe_serialization`, and put the model's "
            "config.json beside them"
        )
    raise ExportError(f"{path} holds neither a model nor a checkpoint of mellama-train")


def check(checkpoint: Path, to: Path, *, merge_lora: bool, base: str | None, mibe_runs: Sequence[Path]) -> None:
    """Raise `ExportError` with a line for each thing that is wrong with what is asked for."""
    problems = [*_of_source(checkpoint, merge_lora, base), *_of_others(to, base, mibe_runs)]
    if problems:
        raise ExportError("\n".join(problems))


def _of_source(checkpoint: Path, merge_lora: bool, base: str | None) -> Iterator[str]:
    try:
        left = find(checkpoint)
    except ExportError as error:
        yield str(error)
        return
    if merge_lora and not left.has_adapters:
        yield f"--merge-lora: {left.folder} has no adapters, so there is nothing to merge; leave it out"
    if base and left.kind == "model":
        yield f"--base: {left.folder} is a whole model, which needs no other; leave it out"


def _of_others(to: Path, base: str | None, mibe_runs: Sequence[Path]) -> Iterator[str]:
    if has_too_long_name(str(to)):
        yield f"--to: {to} has a name of more than {LONGEST_NAME} bytes in it, which no folder has"
    elif to.exists() and (not to.is_dir() or any(to.iterdir())):
        yield f"{to} is there already and not empty; choose another folder for --to"
    if base and is_adapter_folder(base):
        yield (
            f"--base: {base} is itself an adapter; merge it first: mellama-train export {base} --merge-lora --to "
            "FOLDER, then give --base FOLDER"
        )
    elif base and (problem := problem_of(base)):
        yield f"--base: cannot load {base}: {problem}"
    for path in mibe_runs:
        try:
            mibe.load_run(path)
        except RunError as error:
            yield f"--mibe-run: {error}"

"""Whether a checkpoint, or a finished model, belongs to the run that is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellama_train.errors import CheckpointError, TrainError
from mellama_train.loop.layout import CHECKPOINTS, FINAL, RECORD, STATE, newest_folder
from mellama_train.recipe.config import Recipe, RunRecipe
from mellama_train.recipe.stages import MAY_CHANGE
from mellama_train.recipe.yaml_schema import as_json, flat
from mellama_train.rows.row import Rows

if TYPE_CHECKING:
    from mellama_train.loop.checkpoints import Checkpoint

FOLLOWING = ("apart", "rows", "ends")
"""Keys of the rows that follow from others, or from whether they are packed, which is known with the model loaded."""


def record(recipe: Recipe, rows: Rows) -> dict[str, Any]:
    """What of recipe and data a checkpoint keeps, and the finished model."""
    # Through JSON and back, as a checkpoint's own copy went.
    kept: dict[str, Any] = json.loads(json.dumps({"recipe": as_json(recipe), "rows": rows.describe()}))
    return kept


def problem_of(recipe: RunRecipe, may_change: tuple[str, ...]) -> str | None:
    """What another recipe left in the output folder, without a look at the data; None where a run may go on or begin.

    Keys that `may_change` make no other recipe. The folder's files are taken as they are: whether they are whole is
    seen when they are read.
    """
    final, newest = recipe.output / FINAL, newest_folder(recipe.output / CHECKPOINTS)
    wanted = {"recipe": json.loads(json.dumps(as_json(recipe)))}
    if final.is_dir():
        other = _other(_read(final / RECORD), wanted, may_change)
        return _finished_by(final, other) if other else None
    kept = _read(newest / STATE) if newest else {}
    # A checkpoint whose record cannot be read is damaged, and will be passed over.
    other = _other(kept, wanted, may_change) if "recipe" in kept else None
    return _begun_by(newest, other) if newest and other else None


def check(found: Checkpoint, wanted: Mapping[str, Any]) -> None:
    """Raise `CheckpointError`, naming the keys that differ, unless the checkpoint is of this recipe and data."""
    check_record(found.folder, found.state, wanted)


def check_record(folder: Path, kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """The same of any folder of a run, by the record `kept` in it."""
    if other := _other(kept, wanted):
        raise CheckpointError(_begun_by(folder, other))


def check_packing(found: Checkpoint, wanted: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` unless the rows of a checkpoint were packed, or were not, as those that are wanted."""
    before, now = (rows.get("apart", False) for rows in (found.state["rows"], wanted["rows"]))
    if before != now:
        raise CheckpointError(
            f"{found.folder} was made with {'one document' if before else 'several documents'} in a row, and here the "
            f"model {'keeps several apart' if before else 'sees what stands before one'}; go back to the machine "
            "or the libraries it was made with, or choose another output for a new run"
        )


def is_finished(final: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether the model of this run is there. Raises `TrainError`, naming the keys that differ, for that of another."""
    if not final.is_dir():
        return False
    if other := _other(_read(final / RECORD), wanted):
        raise TrainError(_finished_by(final, other))
    return True


def _finished_by(final: Path, other: str) -> str:
    return f"{final} is there already, made by {other}; choose another output, or remove it"


def _begun_by(folder: Path, other: str) -> str:
    return f"{folder} was made by {other}; go back to the old values, or choose another output for a new run"


def _read(file: Path) -> dict[str, Any]:
    """The record in a file; an empty one where there is none to be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _other(kept: Mapping[str, Any], wanted: Mapping[str, Any], may_change: tuple[str, ...] = MAY_CHANGE) -> str | None:
    """What another run a record is of, with the keys that differ; None for the same run, as far as `wanted` tells."""
    for what, name, allowed in (("recipe", "another recipe", may_change), ("rows", "another data set", FOLLOWING)):
        if what not in wanted:
            continue
        if what not in kept:
            return f"another run, of whose {what} nothing is known"
        before, now = dict(flat(kept[what])), dict(flat(wanted[what]))
        differing = [
            key for key in sorted({*before, *now}) if before.get(key) != now.get(key) and not _under(key, allowed)
        ]
        if differing:
            shown = ", ".join(f"{key} ({before.get(key)} → {now.get(key)})" for key in differing[:5])
            return f"{name}: {shown}"
    return None


def _under(key: str, prefixes: tuple[str, ...]) -> bool:
    return any(key == prefix or key.startswith((f"{prefix}.", f"{prefix}[")) for prefix in prefixes)

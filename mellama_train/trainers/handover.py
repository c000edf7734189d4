"""What training hands over: a model folder that others use, and the record in it of how the model came to be.

`hand_over` writes the record beside weights that a plugin's engine has written; `received` looks at any folder that a
trainer returned, since `mibe eval`, the card, the export and `mellama-train forgetting` build on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mellama_train.errors import PluginError, TrainError
from mellama_train.loop import resuming
from mellama_train.loop.layout import FINAL, RECORD
from mellama_train.model import provenance
from mellama_train.model.adapters import ADAPTER_CONFIG, is_adapter_folder
from mellama_train.model.folders import problem_of
from mellama_train.model.provenance import Source, Stage, TestSets
from mellama_train.recipe.config import RunRecipe
from mellama_train.recipe.yaml_schema import as_json
from mellama_train.trainers.contract import Trainer

R = TypeVar("R", bound=RunRecipe)

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
"""Of these a folder with a tokenizer has one at least."""


def hand_over(
    folder: Path,
    *,
    trainer: Trainer[Any],
    recipe: RunRecipe,
    model: str,
    sources: Sequence[Source],
    test_sets: TestSets | None,
    steps: int | None = None,
    about: str | None = None,
) -> Path:
    """Write `training.json`, `recipe.json` and `run.json` into a folder of trained weights; returns the folder.

    `model` is what training began with, whose own record is continued; `sources` are the data with their access levels
    (`provenance.task_source`, `provenance.file_sources`); `test_sets` is what was looked for of test sets in them, None
    where nobody looked; `about` says what was done, in a few words (default: as the trainer does). The first rank calls
    it, when the weights are there. Raises `TrainError` when the files cannot be written.
    """
    content = as_json(recipe)
    stage = Stage(
        recipe=content,
        steps=steps,
        sources=tuple(sources),
        test_sets=test_sets,
        trainer=trainer.name,
        about=about or trainer.about,
    )
    try:
        provenance.write(folder, provenance.lineage(model).then(stage))
        (folder / provenance.RECIPE).write_text(json.dumps(content, indent=1), encoding="utf-8")
        (folder / RECORD).write_text(json.dumps({"recipe": content}, indent=1), encoding="utf-8")
    except OSError as error:
        raise TrainError(f"cannot write to {folder}: {error.strerror}; run it again when it can be") from error
    return folder


def finished_before(trainer: Trainer[R], recipe: R) -> Path | None:
    """The folder that a run of this very recipe has handed over, where it is whole: nothing is left to be done."""
    folder = recipe.output / FINAL
    whole = folder.is_dir() and not any(_lacking(folder))
    return folder if whole and resuming.problem_of(recipe, trainer.may_change) is None else None


def received(trainer: Trainer[Any], folder: Path) -> list[str]:
    """What there is to say of the folder that a trainer's run returned: lines on what nobody will know of its data.

    Raises `PluginError` with a line for each thing that the folder lacks.
    """
    if not isinstance(folder, Path):
        raise PluginError(
            f"the run of the trainer {trainer.name} returned {folder!r}, and should return the Path of a model's folder"
        )
    if lacking := list(_lacking(folder)):
        raise PluginError("\n".join(f"the trainer {trainer.name} hands over no model: {line}" for line in lacking))
    return list(_unsaid(folder))


def _lacking(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        yield f"there is no folder {folder}"
        return
    if is_adapter_folder(str(folder)):
        if not any(folder.glob("adapter_model.*")):
            yield f"{folder} has {ADAPTER_CONFIG} and no weights of adapters"
    elif problem := problem_of(str(folder)):
        yield problem
    if not any((folder / name).is_file() for name in TOKENIZER):
        yield f"{folder} has no tokenizer; save it beside the weights"
    if not (folder / provenance.FILE).is_file():
        yield f"{folder} has no {provenance.FILE}; its run writes it by mellama_train.trainers.handover.hand_over"
        return
    try:
        found = provenance.lineage(str(folder))
    except (ValueError, KeyError, TypeError) as error:
        yield f"{folder / provenance.FILE} is damaged ({type(error).__name__}); write it by hand_over"
        return
    if not found.stages:
        yield f"{folder / provenance.FILE} has no stage, and should end with the one that made the model"


def _unsaid(folder: Path) -> Iterator[str]:
    last = provenance.lineage(str(folder)).stages[-1]
    unknown = [source.name for source in last.sources if source.access == provenance.UNKNOWN]
    if not last.sources:
        yield f"{folder}: no data is named in {provenance.FILE}, so the model counts as one of unknown data"
    elif unknown:
        yield f"{folder}: of {', '.join(unknown)} no access level is recorded, so the model counts as restricted"
    if last.test_sets is None:
        yield f"{folder}: nobody looked for documents of test sets in its data; its scores there may be memory"

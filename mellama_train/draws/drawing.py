"""Draws of a model on the train split of a task: a run of mibe like any other, which goes on where it stopped."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import mibe
from mellama_train.draws.judged import TRAIN
from mellama_train.errors import ModelLoadError
from mellama_train.model.folders import CONFIG, looks_local, problem_of

RESAMPLES = 200
"""Of the intervals of the run's figures, which nobody looks at here."""


def model_of(name: str, arguments: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """mibe's name of a model and its arguments: a folder, or a name with an owner on a hub, is one for `hf`.

    Raises `ModelLoadError` for a folder that holds no model.
    """
    if not (looks_local(name) or "/" in name or (Path(name) / CONFIG).is_file()):
        return name, dict(arguments)
    if problem := problem_of(name):
        raise ModelLoadError(f"--model: {problem}")
    return "hf", {"pretrained": name, **arguments}


def check_model(run: mibe.Run, model: str) -> None:
    """Raise `ModelLoadError` where there is no such folder, or it holds another model than a run was made with."""
    if not Path(model).is_dir():
        raise ModelLoadError(f"--model: there is no folder {model}; give that of the model that was asked")
    if mibe.answered_by(run, model) is False:
        raise ModelLoadError(f"--model: {model} is not the model that {run.path} was made with; give that one's folder")


def draw(
    task: str,
    model: str,
    arguments: Mapping[str, str],
    *,
    repeats: int,
    output_dir: Path,
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
    **settings: Any,
) -> mibe.Run:
    """The run: `repeats` draws of each document of the train split. `settings` are those of `mibe.evaluate`.

    Raises mibe's errors: credentialed text is kept from a remote model, as in any run.
    """
    name, known = model_of(model, arguments)
    return mibe.evaluate(
        model=name,
        model_args=known,
        tasks=[task],
        split=TRAIN,
        repeats=repeats,
        resamples=RESAMPLES,
        output_dir=output_dir,
        allow_egress=allow_egress,
        agreement=agreement,
        **settings,
    )

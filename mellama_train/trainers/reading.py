"""Recipes of any trainer: whose a file is, and the file as that trainer's recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from mellama_train.errors import RecipeError
from mellama_train.plan.text import Plan
from mellama_train.plan.work import Asked, Question
from mellama_train.recipe.config import RunRecipe
from mellama_train.recipe.problems import TRAINER_KEY
from mellama_train.recipe.yaml_schema import (
    NO_OPTIONS,
    Change,
    Loaded,
    Options,
    keys_under,
    read,
    text_of,
    text_under,
)
from mellama_train.trainers.contract import Trainer
from mellama_train.trainers.registry import find_trainer

R = TypeVar("R", bound=RunRecipe)

OWN_COMMANDS = {"pretrain": "pretrain", "instruct": "instruct", "finetune": "finetune --recipe"}
"""Trainers that have a command of their name: what stands before the recipe."""


def read_recipe(
    trainer: Trainer[R], file: Path, changes: Sequence[Change] = (), options: Options = NO_OPTIONS
) -> Loaded[R]:
    """A file as a recipe of the trainer, with `changes` put over it. Raises `RecipeError` with all mistakes."""
    return read(file, trainer.recipe, changes, options, {TRAINER_KEY: trainer.name})


def trainer_of(file: Path, changes: Sequence[Change] = (), named: str | None = None) -> Trainer[Any]:
    """Whose recipe a file is: of the one that is named, or that its key `trainer` names, or that its data tells.

    A folder is pretraining's, a task fine-tuning's, files are instruction tuning's. Raises as `find_trainer`, and
    `RecipeError` for a file that cannot be read.
    """
    text = text_of(file)
    if name := named or text_under(text, TRAINER_KEY, changes):
        return find_trainer(name)
    data = keys_under(text, "data", changes)
    return find_trainer("pretrain" if "folder" in data else "finetune" if "task" in data else "instruct")


def plan(file: Path, asked: Asked, changes: Sequence[Change] = (), trainer: str | None = None) -> Plan:
    """The plan of a recipe, with `changes` put over it.

    Raises as `trainer_of`, `RecipeError` for a trainer that makes no forecasts, and what its forecast raises.
    """
    of = trainer_of(file, changes, trainer)
    recipe = read_recipe(of, file, changes).value
    if of.forecast is None:
        raise RecipeError(f"the trainer {of.name} makes no forecasts; start a short run of it, and measure")
    context = getattr(recipe, "context", None)  # a plugin's recipe need have none
    if context and asked.sample_tokens and asked.sample_tokens > context:
        raise RecipeError(
            f"--sample-tokens: {asked.sample_tokens:,.0f} is longer than context, {context:,}; raise context too "
            "(--set context=…)"
        )
    command = OWN_COMMANDS.get(of.name, f"train {of.name}")
    return of.forecast(recipe, Question(file=file, asked=asked, changes=changes, command=command))

"""The commands `mellama-train pretrain | instruct | finetune`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mellama_train.commands.options import add_set
from mellama_train.commands.quiet import quieten

if TYPE_CHECKING:
    from mellama_train.loop.training import TrainingData
    from mellama_train.recipe.config import Recipe
    from mellama_train.recipe.stages import FinetuneRecipe
    from mellama_train.recipe.yaml_schema import Loaded

R = TypeVar("R", bound="Recipe")

DEFAULT_ROWS = 32
"""Rows of a step where fine-tuning is asked for without a recipe."""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them to the command line."""
    _add_stage(commands.add_parser("pretrain", help="continual pretraining on a corpus"), _pretrain)
    _add_stage(commands.add_parser("instruct", help="instruction tuning, by LoRA or of all weights"), _instruct)
    _add_finetune(commands.add_parser("finetune", help="fine-tuning on a task of mibe: its prompts, its train split"))


def _add_stage(p: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int]) -> None:
    p.set_defaults(command=command)
    p.add_argument("recipe", type=Path, metavar="RECIPE", help="a YAML file; docs/training.md explains its keys")
    _add_looks(p)
    add_set(p)


def _add_looks(p: argparse.ArgumentParser) -> None:
    p.add_argument("--dry-run", action="store_true", help="read recipe and data, print what would be done, and end")
    p.add_argument("--show", type=int, metavar="N", help="print N documents with what is learned marked, and end")


def _add_finetune(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_finetune)
    p.add_argument("--task", help="a task of mibe that has a train split (`mibe tasks` lists them)")
    p.add_argument("--model", metavar="PATH", help="the model to start from: a folder, or a hub's name")
    p.add_argument("--output", metavar="DIR", help="folder of the run (default: runs/MODEL-TASK)")
    p.add_argument("--recipe", type=Path, help="a YAML file for all else; without it the paper's values")
    _add_looks(p)
    add_set(p)


def _pretrain(a: argparse.Namespace) -> int:
    """Continual pretraining."""
    quieten()
    from mellama_train.recipe.stages import PretrainRecipe
    from mellama_train.recipe.yaml_schema import read

    recipe = _checked(a, read(a.recipe, PretrainRecipe, a.set))
    from mellama_train.trainers.pretrain import pretraining_data

    return _train(a, recipe, pretraining_data)


def _instruct(a: argparse.Namespace) -> int:
    """Instruction tuning."""
    quieten()
    from mellama_train.recipe.stages import TuningRecipe
    from mellama_train.recipe.yaml_schema import read

    recipe = _checked(a, read(a.recipe, TuningRecipe, a.set))
    from mellama_train.trainers.instruct import tuning_data

    return _train(a, recipe, tuning_data)


def _finetune(a: argparse.Namespace) -> int:
    """Task fine-tuning: by a recipe, or by the defaults on the model and task that are named."""
    quieten()
    recipe = _checked(a, _finetuning(a))
    from mellama_train.trainers.finetune import finetuning_data

    return _train(a, recipe, finetuning_data)


def _finetuning(a: argparse.Namespace) -> Loaded[FinetuneRecipe]:
    """The recipe with the options put over it; without one, of the options and the defaults."""
    from mellama_train.errors import RecipeError
    from mellama_train.recipe.stages import FinetuneRecipe
    from mellama_train.recipe.yaml_schema import read, read_text
    from mellama_train.trainers.inputs import problems_of_sources

    named = {"data.task": ("--task", a.task), "model.path": ("--model", a.model), "output": ("--output", a.output)}
    given = {key: option for key, (option, value) in named.items() if value is not None}
    # As YAML in quotes, so that a folder named 13 or a task named on is taken as it is.
    changes = [(key, _quoted(value)) for key, (_, value) in named.items() if value is not None] + a.set
    options = {key: option for key, option in given.items() if key not in dict(a.set)}
    if a.recipe is not None:
        return read(a.recipe, FinetuneRecipe, changes, options)
    if a.task is None or a.model is None:
        raise RecipeError("finetune needs --task and --model, or a --recipe that names them")
    output = Path("runs") / f"{Path(a.model).name}-{a.task}"
    changes = [("output", _quoted(str(output))), ("batch.rows", str(DEFAULT_ROWS)), *changes]
    # What is wrong already is wrong before the libraries are loaded that know this machine.
    found = read_text("", FinetuneRecipe, "the defaults", [("context", str(_known_window(a.model))), *changes], options)
    found.refuse(problems_of_sources(found.value))
    from mellama_train.trainers.finetune import default_finetuning

    return read_text("", FinetuneRecipe, "the defaults", [*default_finetuning(a.model), *changes], options)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _known_window(model: str) -> int:
    """The context that a run without a recipe has, as far as the model's folder tells."""
    from mellama_train.model.folders import window_of
    from mellama_train.recipe.defaults import CONTEXT

    return min(CONTEXT, window_of(model) or CONTEXT)


def _checked(a: argparse.Namespace, recipe: Loaded[R]) -> R:
    """The recipe, all that it names being there. Raises `RecipeError` with a line for each thing that is wrong."""
    from mellama_train.errors import RecipeError
    from mellama_train.trainers.inputs import problems, problems_of_sources

    if a.show is not None and a.show < 1:
        raise RecipeError(f"--show: {a.show} is out of range; it is a number of documents, at least 1")
    # Who looks at documents may do so with other settings than those of the run that is there.
    recipe.refuse((problems if a.show is None else problems_of_sources)(recipe.value))
    return recipe.value


def _train(a: argparse.Namespace, recipe: R, open_data: Callable[[R], TrainingData]) -> int:
    """Join the ranks, open the data, train; the first rank prints where the model is. Or show what would be done."""
    if a.dry_run or a.show is not None:
        return _look(a, recipe, open_data(recipe))
    from mellama_train.engines.ranks import Ranks
    from mellama_train.loop.training import train

    ranks = Ranks.join()
    try:
        final = train(recipe, open_data(recipe), ranks)
        # A rank that leaves while another is still talking would abort it.
        ranks.wait()
    finally:
        ranks.leave()
    if ranks.is_first:
        print(final)
    return 0


def _look(a: argparse.Namespace, recipe: Recipe, data: TrainingData) -> int:
    """Print what the run would do, or some of its documents."""
    from mellama_train.trainers.preview import shown, summary

    for text in shown(data, a.show, colour=sys.stdout.isatty()) if a.show else [summary(recipe, data)]:
        print(text)
    return 0

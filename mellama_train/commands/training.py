"""What each command does: it reads the recipe, opens the data and trains. Imports wait until a command needs them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mellama_train.loop.training import TrainingData
    from mellama_train.recipe.config import Recipe

R = TypeVar("R", bound="Recipe")


def run_pretrain(a: argparse.Namespace) -> int:
    """Continual pretraining."""
    from mellama_train.recipe.config import PretrainRecipe
    from mellama_train.recipe.yaml_schema import load
    from mellama_train.trainers.stages import pretraining_data

    return _train(load(a.recipe, PretrainRecipe, a.set), pretraining_data)


def run_instruct(a: argparse.Namespace) -> int:
    """Instruction tuning."""
    from mellama_train.recipe.config import TuningRecipe
    from mellama_train.recipe.yaml_schema import load
    from mellama_train.trainers.stages import tuning_data

    return _train(load(a.recipe, TuningRecipe, a.set), tuning_data)


def run_finetune(a: argparse.Namespace) -> int:
    """Task fine-tuning: by a recipe, or by the defaults on the model and task that are named."""
    from mellama_train.errors import RecipeError
    from mellama_train.recipe.config import FinetuneRecipe
    from mellama_train.recipe.yaml_schema import load, parse
    from mellama_train.trainers.stages import default_finetuning, finetuning_data

    named = {"data.task": a.task, "model.path": a.model, "output": a.output}
    # As YAML in quotes, so that a folder named 13 or a task named on is taken as it is.
    options = [(key, "'" + value.replace("'", "''") + "'") for key, value in named.items() if value is not None]
    if a.recipe is not None:
        return _train(load(a.recipe, FinetuneRecipe, [*options, *a.set]), finetuning_data)
    if a.task is None or a.model is None:
        raise RecipeError("finetune needs --task and --model, or a --recipe that names them")
    defaults = default_finetuning(a.model, a.task)
    return _train(parse("", FinetuneRecipe, "the defaults", [*defaults, *options, *a.set]), finetuning_data)


def run_forgetting(a: argparse.Namespace) -> int:
    """What a model has forgotten of what its base model knew."""
    from mellama_train.publish.forgetting import measure, render

    found = measure(a.base, a.tuned, output=a.output, limit=a.limit, arguments=dict(a.model_args), scoring=a.scoring)
    print(render(found, a.format))
    return 0


def run_export(a: argparse.Namespace) -> int:
    """A model folder to use, out of what training left."""
    from mellama_train.engines.ranks import Ranks
    from mellama_train.publish.export import export

    ranks = Ranks.join()
    try:
        done = export(
            a.checkpoint,
            a.to,
            ranks=ranks,
            merge_lora=a.merge_lora,
            base=a.base,
            precision=a.precision,
            mibe_runs=a.mibe_run,
        )
    finally:
        ranks.leave()
    for line in done.notes:
        print(line, file=sys.stderr)
    print(done.folder)
    return 0


def run_plan(a: argparse.Namespace) -> int:
    """Print the plan; exit code 2 where the run does not fit."""
    from mellama_train.plan.text import Asked, plan

    given = {name: value for name, value in vars(a).items() if name not in ("command", "recipe")}
    made = plan(a.recipe, Asked(**given))
    print(made.text)
    return 0 if made.fits else 2


def _train(recipe: R, open_data: Callable[[R], TrainingData]) -> int:
    """Join the ranks, open the data, train; the first rank prints where the model is."""
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

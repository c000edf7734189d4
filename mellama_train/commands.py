"""What each command does: it reads the recipe, opens the data and trains. Imports wait until a command needs them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mellama_train.config import Recipe
    from mellama_train.training import TrainingData

R = TypeVar("R", bound="Recipe")


def run_pretrain(a: argparse.Namespace) -> int:
    """Continual pretraining."""
    from mellama_train.config import PretrainRecipe
    from mellama_train.stages import pretraining_data
    from mellama_train.yaml_schema import load

    return _train(load(a.recipe, PretrainRecipe), pretraining_data)


def run_instruct(a: argparse.Namespace) -> int:
    """Instruction tuning."""
    from mellama_train.config import TuningRecipe
    from mellama_train.stages import tuning_data
    from mellama_train.yaml_schema import load

    return _train(load(a.recipe, TuningRecipe), tuning_data)


def run_finetune(a: argparse.Namespace) -> int:
    """Task fine-tuning."""
    from mellama_train.config import FinetuneRecipe
    from mellama_train.stages import finetuning_data
    from mellama_train.yaml_schema import load

    return _train(load(a.recipe, FinetuneRecipe), finetuning_data)


def run_export(a: argparse.Namespace) -> int:
    """A model folder to use, out of what training left."""
    from mellama_train.export import export
    from mellama_train.ranks import Ranks

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
    from mellama_train.plan_text import Asked, plan

    given = {name: value for name, value in vars(a).items() if name not in ("command", "recipe")}
    made = plan(a.recipe, Asked(**given))
    print(made.text)
    return 0 if made.fits else 2


def _train(recipe: R, open_data: Callable[[R], TrainingData]) -> int:
    """Join the ranks, open the data, train; the first rank prints where the model is."""
    from mellama_train.ranks import Ranks
    from mellama_train.training import train

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

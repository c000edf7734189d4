"""The stages of the paper as trainers. Each is its recipe and its data; all else is the one loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mellama_train.recipe.config import Recipe
from mellama_train.recipe.problems import Problem
from mellama_train.recipe.stages import MAY_CHANGE, FinetuneRecipe, PretrainRecipe, TuningRecipe
from mellama_train.trainers.contract import Trainer

if TYPE_CHECKING:
    from mellama_train.engines.ranks import Ranks
    from mellama_train.loop.training import TrainingData
    from mellama_train.plan.text import Plan
    from mellama_train.plan.work import Question

R = TypeVar("R", PretrainRecipe, TuningRecipe, FinetuneRecipe)


def _stage(name: str, *, about: str, reads: str, recipe: type[R], open_data: Callable[[R], TrainingData]) -> Trainer[R]:
    """A trainer of the one loop."""

    def run(recipe: R, ranks: Ranks) -> Path:
        from mellama_train.loop.training import train

        return train(recipe, open_data(recipe), ranks)

    def preview(recipe: R) -> str:
        from mellama_train.trainers.preview import summary

        return summary(recipe, open_data(recipe))

    def show(recipe: R, count: int, colour: bool) -> Iterable[str]:
        from mellama_train.trainers.preview import shown

        return shown(open_data(recipe), count, colour=colour)

    return Trainer(
        name=name,
        about=about,
        reads=reads,
        recipe=recipe,
        run=run,
        problems=_problems,
        preview=preview,
        show=show,
        forecast=_forecast,
        may_change=MAY_CHANGE,
    )


def _problems(recipe: Recipe) -> Iterable[Problem]:
    from mellama_train.trainers.inputs import problems

    return problems(recipe)


def _forecast(recipe: PretrainRecipe | TuningRecipe | FinetuneRecipe, question: Question) -> Plan:
    from mellama_train.plan.text import forecast

    return forecast(recipe, question)


def _corpus(recipe: PretrainRecipe) -> TrainingData:
    from mellama_train.trainers.pretrain import pretraining_data

    return pretraining_data(recipe)


def _samples(recipe: TuningRecipe) -> TrainingData:
    from mellama_train.trainers.instruct import tuning_data

    return tuning_data(recipe)


def _task(recipe: FinetuneRecipe) -> TrainingData:
    from mellama_train.trainers.finetune import finetuning_data

    return finetuning_data(recipe)


PRETRAIN = _stage(
    "pretrain",
    about="continual pretraining on a corpus",
    reads="a corpus that mellama-train corpus build has made",
    recipe=PretrainRecipe,
    open_data=_corpus,
)

INSTRUCT = _stage(
    "instruct",
    about="instruction tuning, by LoRA or of all weights",
    reads="prompts with responses, in files or data sets of a hub",
    recipe=TuningRecipe,
    open_data=_samples,
)

FINETUNE = _stage(
    "finetune",
    about="fine-tuning on a task of mibe",
    reads="the train split of a task, by its own prompts",
    recipe=FinetuneRecipe,
    open_data=_task,
)

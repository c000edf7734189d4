"""The commands `mellama-train pretrain | instruct | finetune | train | trainers`: all trainers go one way."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mellama_train.commands.options import add_set
from mellama_train.commands.quiet import quieten

if TYPE_CHECKING:
    from mellama_train.recipe.config import RunRecipe
    from mellama_train.recipe.stages import FinetuneRecipe
    from mellama_train.recipe.yaml_schema import Loaded
    from mellama_train.trainers.contract import Trainer

R = TypeVar("R", bound="RunRecipe")

DEFAULT_ROWS = 32
"""Rows of a step where fine-tuning is asked for without a recipe."""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them to the command line."""
    _add_stage(commands.add_parser("pretrain", help="continual pretraining on a corpus"), "pretrain")
    _add_stage(commands.add_parser("instruct", help="instruction tuning, by LoRA or of all weights"), "instruct")
    _add_finetune(commands.add_parser("finetune", help="fine-tuning on a task of mibe: its prompts, its train split"))
    _add_train(commands.add_parser("train", help="train by any trainer that is here, those of other packages too"))
    listed = commands.add_parser("trainers", help="list the trainers that are here: what each does and reads")
    listed.set_defaults(command=_list)


def _add_stage(p: argparse.ArgumentParser, name: str) -> None:
    p.set_defaults(command=_by_name, trainer=name)
    p.add_argument("recipe", type=Path, metavar="RECIPE", help="a YAML file; docs/training.md explains its keys")
    _add_looks(p)
    add_set(p)


def _add_train(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_by_name)
    p.add_argument("trainer", metavar="NAME", help="a trainer (`mellama-train trainers` lists them)")
    p.add_argument("recipe", type=Path, metavar="RECIPE", help="a YAML file with the keys of that trainer")
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


def _list(_: argparse.Namespace) -> int:
    """A line for each trainer; those that cannot be used are told of beside it."""
    from tabulate import tabulate

    from mellama_train.trainers.registry import found_trainers

    found = list(found_trainers())
    rows = [(each.name, t.about, t.reads, each.package) for each in found if (t := each.trainer)]
    print(tabulate(rows, ("trainer", "what it does", "what it reads", "package")))
    for each in found:
        if each.problem:
            print(f"mellama-train: {each.problem}", file=sys.stderr)
    return 0


def _by_name(a: argparse.Namespace) -> int:
    """Train by the trainer that is named."""
    quieten()
    from mellama_train.trainers.reading import read_recipe
    from mellama_train.trainers.registry import find_trainer

    trainer = find_trainer(a.trainer)
    return _run(a, trainer, read_recipe(trainer, a.recipe, a.set))


def _finetune(a: argparse.Namespace) -> int:
    """Task fine-tuning: by a recipe, or by the defaults on the model and task that are named."""
    quieten()
    from mellama_train.trainers.registry import find_trainer

    trainer = find_trainer("finetune")
    return _run(a, trainer, _finetuning(a, trainer))


def _finetuning(a: argparse.Namespace, trainer: Trainer[FinetuneRecipe]) -> Loaded[FinetuneRecipe]:
    """The recipe with the options put over it; without one, of the options and the defaults."""
    from mellama_train.errors import RecipeError
    from mellama_train.recipe.yaml_schema import read_text
    from mellama_train.trainers.reading import read_recipe

    named = {"data.task": ("--task", a.task), "model.path": ("--model", a.model), "output": ("--output", a.output)}
    given = {key: option for key, (option, value) in named.items() if value is not None}
    # As YAML in quotes, so that a folder named 13 or a task named on is taken as it is.
    changes = [(key, _quoted(value)) for key, (_, value) in named.items() if value is not None] + a.set
    options = {key: option for key, option in given.items() if key not in dict(a.set)}
    if a.recipe is not None:
        return read_recipe(trainer, a.recipe, changes, options)
    if a.task is None or a.model is None:
        raise RecipeError("finetune needs --task and --model, or a --recipe that names them")
    output = Path("runs") / f"{Path(a.model).name}-{a.task}"
    changes = [("output", _quoted(str(output))), ("batch.rows", str(DEFAULT_ROWS)), *changes]
    # What is wrong already is wrong before the libraries are loaded that know this machine.
    found = read_text("", trainer.recipe, "the defaults", [("context", str(_known_window(a.model))), *changes], options)
    found.refuse(trainer.problems(found.value))
    from mellama_train.trainers.finetune import default_finetuning

    return read_text("", trainer.recipe, "the defaults", [*default_finetuning(a.model), *changes], options)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _known_window(model: str) -> int:
    """The context that a run without a recipe has, as far as the model's folder tells."""
    from mellama_train.model.folders import window_of
    from mellama_train.recipe.defaults import CONTEXT

    return min(CONTEXT, window_of(model) or CONTEXT)


def _run(a: argparse.Namespace, trainer: Trainer[R], found: Loaded[R]) -> int:
    """Join the ranks and train; the first rank prints where the model is. Or show what would be done."""
    recipe = _checked(a, trainer, found)
    if a.dry_run or a.show is not None:
        return _look(a, trainer, recipe)
    from mellama_train.engines.ranks import Ranks
    from mellama_train.trainers.handover import received

    ranks = Ranks.alone() if trainer.own_processes else Ranks.join()
    try:
        folder = trainer.run(recipe, ranks)
        # A rank that leaves while another is still talking would abort it.
        ranks.wait()
    finally:
        ranks.leave()
    if ranks.is_first:
        for line in received(trainer, folder):
            print(f"mellama-train: {line}", file=sys.stderr)
        print(folder)
    return 0


def _checked(a: argparse.Namespace, trainer: Trainer[R], found: Loaded[R]) -> R:
    """The recipe, all that it names being there. Raises `RecipeError` with a line for each thing that is wrong."""
    from mellama_train.errors import RecipeError
    from mellama_train.trainers.inputs import problems_of_output

    if a.show is not None and trainer.show is None:
        raise RecipeError(f"--show: the trainer {trainer.name} shows no documents; --dry-run says what it would do")
    if a.show is not None and a.show < 1:
        raise RecipeError(f"--show: {a.show} is out of range; it is a number of documents, at least 1")
    if trainer.own_processes and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RecipeError(f"the trainer {trainer.name} starts its processes itself; run it without a launcher")
    # Who looks at documents may do so with other settings than those of the run that is there.
    output = problems_of_output(trainer, found.value) if a.show is None else ()
    found.refuse([*trainer.problems(found.value), *output])
    return found.value


def _look(a: argparse.Namespace, trainer: Trainer[R], recipe: R) -> int:
    """Print what the run would do, or some of its documents."""
    if a.show and trainer.show:
        for text in trainer.show(recipe, a.show, sys.stdout.isatty()):
            print(text)
    else:
        print(trainer.preview(recipe))
    return 0

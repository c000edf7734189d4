"""What a trainer is: all that the command line knows of whatever trains a model.

A plugin is one module with a `Trainer` in it, named in the entry-point group `mellama_train.trainers`
(docs/add-a-trainer.md). Nothing here is heavy, and a module with a trainer should not be either: it imports what trains
inside `run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from mellama_train.recipe.config import RunRecipe
from mellama_train.recipe.problems import Problem

if TYPE_CHECKING:
    from mellama_train.engines.ranks import Ranks
    from mellama_train.plan.text import Plan
    from mellama_train.plan.work import Question


R = TypeVar("R", bound=RunRecipe)


def nothing(_recipe: RunRecipe) -> Iterable[Problem]:
    """No problem."""
    return ()


def settled(recipe: RunRecipe) -> str:
    """The recipe with all its defaults, as YAML."""
    import yaml

    from mellama_train.recipe.yaml_schema import as_json

    return str(yaml.safe_dump(as_json(recipe), sort_keys=False, allow_unicode=True)).rstrip("\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer(Generic[R]):
    """Something that makes a model of a recipe.

    Parameters
    ----------
    name
        What it is called on the command line, and in its entry point.
    about, reads
        A line each: what it does, and what data it reads.
    recipe
        The class of its recipes (`mellama_train.recipe.config.RunRecipe`). A class refuses contradictory values by
        `mellama_train.recipe.problems.FieldError`.
    run
        Trains, on each of the ranks, and returns the folder of the model, by custom `recipe.output / "final"`: an
        ordinary Hugging Face model folder, or one of adapters, with its tokenizer and with the `training.json` that
        `mellama_train.trainers.handover.hand_over` writes. What the folder lacks is refused afterwards. Raises
        `mellama_train.errors.TrainError` in one line; a `StoppedError` says that the same command goes on.
    problems
        What is wrong with what the recipe names (model, data, tasks, programs), each with its key. Asked before every
        run and every look, and before anything heavy is loaded: by names, sizes and small files alone. The folder
        `output` is looked at by the command line.
    preview
        What `--dry-run` prints.
    show
        (recipe, how many, with colours?) → what `--show` prints, a text for each document.
    forecast
        What `mellama-train plan` prints of the recipe for some machines, and whether it fits them.
    may_change
        Keys of a recipe that do not change what is learned: a finished model of a recipe that differs in others is
        refused before a run.
    own_processes
        For a trainer that starts its processes itself, as other projects' launchers do: it is run in one process, with
        `Ranks.alone()`, and under torchrun it is refused.
    """

    name: str
    about: str
    reads: str
    recipe: type[R]
    run: Callable[[R, Ranks], Path]
    problems: Callable[[R], Iterable[Problem]] = nothing
    preview: Callable[[R], str] = settled
    show: Callable[[R, int, bool], Iterable[str]] | None = None
    forecast: Callable[[R, Question], Plan] | None = None
    may_change: tuple[str, ...] = ("output",)
    own_processes: bool = False

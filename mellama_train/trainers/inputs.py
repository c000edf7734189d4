"""What a recipe names, looked at before anything is loaded: model, data, tasks, files, the folder of the run.

Everything that is wrong is found at once, each with the key that names it. No library that takes seconds is needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import mibe
from mellama_train.corpus.mixture import Mixture
from mellama_train.corpus.shards import Corpus
from mellama_train.engines import zero
from mellama_train.errors import CorpusError, DataError, RecipeError, TrainError
from mellama_train.loop import resuming
from mellama_train.model import folders
from mellama_train.recipe.config import Recipe, RunRecipe
from mellama_train.recipe.problems import Problem, problem_of_output
from mellama_train.recipe.stages import FinetuneRecipe, HubDataset, PretrainRecipe, TuningRecipe
from mellama_train.rows.steps import accumulation, run_steps
from mellama_train.trainers.contract import Trainer
from mibe.errors import MibeError
from mibe.task import Task

R = TypeVar("R", bound=RunRecipe)

PERPLEXITIES = ("perplexity/", "held_out_loss/")
"""Figures of held-out sets, which a recipe may keep the best model by."""


def problems(recipe: Recipe) -> Iterator[Problem]:
    """All that is wrong with what a recipe of the one loop names to be read."""
    yield from _model(recipe)
    yield from _engine(recipe)
    if isinstance(recipe, PretrainRecipe):
        yield from _corpus(recipe)
    elif isinstance(recipe, TuningRecipe):
        yield from problems_of_samples(recipe.data.files, "data.files")
        yield from problems_of_held_out(recipe.data.held_out)
        yield from _best(recipe, {source.stem for source in recipe.data.held_out})
    elif isinstance(recipe, FinetuneRecipe):
        yield from _task(recipe)
    yield from _probe(recipe)


def open_task(name: str) -> Task:
    """The task, which has a train split here. Raises `DataError`, or mibe's errors."""
    task = mibe.load_task(name)
    splits = mibe.prepared_splits(task)
    if splits and "train" not in splits:
        raise DataError(
            f"{name} has no train split here, only {', '.join(splits)}; prepare data that has one "
            f"(mibe data prepare {task.data_name} --from PATH), or choose another task (mibe tasks lists them)"
        )
    _require(task, "train")
    return task


def _require(task: Task, split: str) -> None:
    """Have mibe say so where the data is not here."""
    next(mibe.examples(task, split), None)


def _model(recipe: Recipe) -> Iterator[Problem]:
    path, template = recipe.model.path, recipe.model.chat_template
    if problem := folders.problem_of(path):
        yield Problem("model.path", problem)
    elif (window := folders.window_of(path)) is not None and recipe.context > window:
        yield Problem("context", f"{recipe.context} is longer than the {window} positions that {path} knows")
    if template is not None and (problem := _unreadable(template)):
        yield Problem("model.chat_template", problem)


def _engine(recipe: Recipe) -> Iterator[Problem]:
    try:
        accumulation(recipe.batch, int(os.environ.get("WORLD_SIZE", "1")))
    except RecipeError as error:
        yield Problem("batch", str(error))
    if recipe.engine.name == "deepspeed":
        try:
            # On one rank, which can always share the rows.
            zero.configuration(recipe, 1, universal=False)
        except RecipeError as error:
            yield Problem("engine.config", str(error).removeprefix("engine.config: "))


def _corpus(recipe: PretrainRecipe) -> Iterator[Problem]:
    data = recipe.data
    try:
        corpus = Corpus.open(data.folder)
    except CorpusError as error:
        yield Problem("data.folder", str(error))
        return
    given = {"weights": data.weights or {}, "max_epochs": data.max_epochs or {}}
    unknown = [(key, name) for key, values in given.items() for name in values if name not in corpus.sources]
    for key, name in unknown:
        known = ", ".join(corpus.sources)
        yield Problem(f"data.{key}.{name}", f"the corpus {data.folder} has no source {name}; it has {known}")
    if Path(recipe.model.path).is_dir():
        try:
            corpus.check_tokenizer(Path(recipe.model.path))
        except CorpusError as error:
            yield Problem("model.path", str(error))
    yield from _best(recipe, {name for name in corpus.sources if corpus.shards(name, "held_out")})
    if unknown:
        return
    try:
        rows = Mixture.open(
            data.folder, length=recipe.context, weights=data.weights, max_epochs=data.max_epochs, tokens=data.tokens
        )
    except CorpusError as error:
        yield Problem("data", str(error))
        return
    try:
        run_steps(recipe, len(rows))
    except RecipeError as error:
        yield Problem("steps", str(error))


def problems_of_samples(sources: Iterable[Path | HubDataset], key: str, what: str = "sample") -> Iterator[Problem]:
    """What is wrong with the files and data sets that the list under `key` names; `what` is in them."""
    for number, source in enumerate(sources):
        problem = _dataset(source) if isinstance(source, HubDataset) else _samples(source, what)
        if problem:
            yield Problem(f"{key}[{number}]", problem)


def problems_of_held_out(sources: Sequence[Path | HubDataset], what: str = "sample") -> Iterator[Problem]:
    """The same of held-out sets, which are known by their names."""
    yield from problems_of_samples(sources, "data.held_out", what)
    stems = [source.stem for source in sources]
    for number, stem in enumerate(stems):
        if stem in stems[:number]:
            yield Problem(f"data.held_out[{number}]", f"another held-out set is called {stem} too; rename one of them")


def _samples(file: Path, what: str) -> str | None:
    if file.is_dir():
        return f"{file} is a folder; a data set in one is given as {{dataset: {file}}}"
    if problem := _unreadable(file):
        return problem
    return f"{file} holds no {what}" if file.is_file() and not file.stat().st_size else None


def _dataset(source: HubDataset) -> str | None:
    path = Path(source.dataset)
    if path.is_file():
        return f"{path} is a file; give it without dataset:"
    if not path.exists() and folders.looks_local(source.dataset):
        return f"there is no folder {path}"
    return None


def _task(recipe: FinetuneRecipe) -> Iterator[Problem]:
    try:
        task = open_task(recipe.data.task)
    except (TrainError, MibeError) as error:
        yield Problem("data.task", str(error))
        return
    yield from _best(recipe, {"valid"} & {*mibe.prepared_splits(task)})


def _best(recipe: Recipe, held_out: set[str]) -> Iterator[Problem]:
    """Whether the figure of the best model is one of a held-out set that there is."""
    if recipe.best is None or not recipe.best.figure.startswith(PERPLEXITIES):
        return
    figure, _, name = recipe.best.figure.partition("/")
    if name not in held_out:
        there = (
            ", ".join(f"{figure}/{known}" for known in sorted(held_out)) or "no figure of the kind: nothing is held out"
        )
        yield Problem("best.figure", f"{recipe.best.figure} is no figure of this run, which has {there}")


def _probe(recipe: Recipe) -> Iterator[Problem]:
    for number, name in enumerate(recipe.probe.tasks if recipe.probe else ()):
        try:
            _require(mibe.load_task(name), "test")
        except MibeError as error:
            yield Problem(f"probe.tasks[{number}]", str(error))


def problems_of_output(trainer: Trainer[R], recipe: R) -> Iterator[Problem]:
    """What is wrong with where a recipe of any trainer writes: a file is there, or what another recipe left."""
    if problem := problem_of_output(recipe.output) or resuming.problem_of(recipe, trainer.may_change):
        yield Problem("output", problem)


def _unreadable(file: Path) -> str | None:
    """Why a file cannot be read, by its name and mode alone."""
    if not file.exists():
        return f"there is no file {file}"
    if file.is_dir():
        return f"{file} is a folder"
    return None if os.access(file, os.R_OK) else f"cannot read {file}: permission denied"

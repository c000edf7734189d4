"""Task fine-tuning: a task of `mibe` as training samples, through mibe's public functions alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import torch

import mibe
from mellama_train.errors import DataError, listed
from mellama_train.loop.training import TrainingData
from mellama_train.model.loading import context_window, load_tokenizer
from mellama_train.model.provenance import TestSets
from mellama_train.recipe.defaults import CONTEXT
from mellama_train.recipe.stages import FinetuneRecipe, TaskData
from mellama_train.recipe.yaml_schema import Change
from mellama_train.rows.characters import lone_surrogate
from mellama_train.rows.packed import SampleRows, choose_form
from mellama_train.rows.samples import Sample
from mellama_train.trainers.inputs import open_task
from mellama_train.trainers.samples import sample_data, sample_rows

if TYPE_CHECKING:
    from mibe.task import Task


def finetuning_data(recipe: FinetuneRecipe) -> TrainingData:
    """Packed samples of a task, the paper's number of epochs; its validation split is held out.

    Raises `DataError`, and mibe's errors where the task is unknown or its data not here.
    """
    task, tokenizer = open_task(recipe.data.task), load_tokenizer(recipe.model)
    say_terms(task)
    tested = refused(task, recipe.data)

    def rows(split: str, without: Collection[str], epochs: int | None) -> SampleRows:
        samples = task_samples(task, split, recipe.data, tokenizer, context=recipe.context, without=without)
        return sample_rows(recipe, tokenizer, samples, epochs)

    held_out = {"valid": rows("valid", (), 1)} if "valid" in mibe.prepared_splits(task) else {}
    looked = TestSets(tasks=tested_tasks(), found=len(tested), left_out=len(tested))
    return sample_data(rows("train", tested, recipe.epochs), held_out, tokenizer, looked)


def default_finetuning(model: str) -> list[Change]:
    """What depends on model and machine, for a run without a recipe.

    The context is 4,096 tokens or as many as the model knows, the precision bf16 or what this machine is good at.
    """
    precision = "bf16" if torch.cuda.is_available() else "fp32"
    return [("context", str(min(CONTEXT, context_window(model) or CONTEXT))), ("precision", precision)]


def task_samples(
    task: Task, split: str, data: TaskData, tokenizer: Any, *, context: int, without: Collection[str] = ()
) -> Iterator[Sample]:
    """The documents of a split as `mibe eval` asks about them, each with its answer; those of some ids left out."""
    chat = choose_form(data.form, tokenizer) == "chat"
    samples = mibe.training_samples(task, split, tokenizer=tokenizer, context_window=context, chat_template=chat)
    # Each document is looked at before its sample is made, which takes the tokenizer.
    for place, sample in zip(_whole_documents(task, split), samples, strict=True):
        if sample.id not in without:
            turns = [(message["role"], message["content"]) for message in sample.messages]
            messages = tuple({"role": who, "content": text} for who, text in [*turns, ("assistant", sample.answer)])
            yield Sample(messages, task.name, place)


def _whole_documents(task: Task, split: str) -> Iterator[str]:
    """The place of each document, as messages have it. Raises `DataError` for one that holds half a character."""
    for example in mibe.examples(task, split):
        place = f"{task.name}, {split} split, document {example.id}"
        learned = [dict(example.inputs), example.target, example.choices]
        if half := lone_surrogate(json.dumps(learned, ensure_ascii=False)):
            raise DataError(f"{place} holds {half}, half a character; mend the text and prepare the data again")
        yield place


def say_terms(task: Task) -> None:
    """A line on stderr where the trained model may not simply be passed on."""
    if task.access.level != "open":
        terms = task.access.agreement or task.source.licence
        print(
            f"{task.name} is {task.access.level.value} ({terms}): so is the model that learns from it, and its "
            "training.json says so",
            file=sys.stderr,
        )


def tested_tasks() -> tuple[str, ...]:
    """The tasks whose test documents `refused` knows: those that are prepared here."""
    return tuple(name for name in mibe.list_tasks() if "test" in mibe.prepared_splits(mibe.load_task(name)))


def refused(task: Task, data: TaskData) -> dict[str, str]:
    """Ids of train documents that stand in a test set of mibe too, each with a place where it does.

    As `data.test_documents` says, they are left out and named on stderr, or all named in a `DataError`.
    """
    found = mibe.also_in_test(task)
    if not found:
        return {}
    places = [ident if ident == place else f"{ident} (= {place})" for ident, place in found.items()]
    said = f"{task.name}: {len(found)} documents of the train split also stand in a test set: {listed(places)}"
    if data.test_documents == "error":
        raise DataError(f"{said}; data.test_documents: skip leaves them out of the training")
    print(f"{said}; they are left out", file=sys.stderr)
    return found

"""Documents of tasks as prompts to be answered: those that `mibe eval` asks, mixed, without those of any test set."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mibe
from mellama_train.corpus.decontaminate import TestIndex, index_of_all
from mellama_train.errors import DataError, listed
from mellama_train.model.provenance import TestSets
from mellama_train.rl.recipe import GrpoRecipe
from mellama_train.rows.packed import choose_form

if TYPE_CHECKING:
    from mibe.task import Example, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A document with what a model is asked about it: chat turns, or one text where the form is plain.

    `tokens` is the length of the prompt as the model meets it; `stop` is what ends a plain answer.
    """

    task: str
    example: Example
    asked: str | tuple[Mapping[str, str], ...]
    tokens: int
    stop: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str]:
        """By which the document is known among those of all tasks."""
        return self.task, self.example.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """The prompts of one pass over the tasks.

    `left_out` is task → why → how many documents; `test_sets` is what of test sets was looked for.
    """

    rows: Sequence[Prompt]
    left_out: Mapping[str, Mapping[str, int]]
    test_sets: TestSets

    @property
    def counts(self) -> Mapping[str, int]:
        """Task → prompts of a pass."""
        counts: dict[str, int] = {}
        for row in self.rows:
            counts[row.task] = counts.get(row.task, 0) + 1
        return counts

    def describe(self) -> Mapping[str, Any]:
        """What a run keeps of its data, to know it again."""
        content = hashlib.sha256()
        for row in self.rows:
            content.update(json.dumps([row.key, row.asked, row.example.target], ensure_ascii=True).encode())
        return {"prompts": self.counts, "sha256": content.hexdigest()}


def answer_tokens(recipe: GrpoRecipe) -> int:
    """The longest answer that is drawn: as the recipe says, or the longest that `mibe eval` gives one of the tasks."""
    return recipe.rollouts.tokens or max(mibe.load_task(name).max_new_tokens for name in recipe.data.tasks)


def read_prompts(recipe: GrpoRecipe, tokenizer: Any) -> Prompts:
    """The prompts of one pass.

    Raises `DataError` for a train document that stands in a test set, unless those are skipped; for a prompt that
    leaves no room for its answer, unless it is; for a task of which nothing is left.
    """
    tasks = [mibe.load_task(name) for name in recipe.data.tasks]
    with index_of_all() as index:
        refused = {task.name: in_test_sets(task, index) for task in tasks}
        tested = tuple(index.about["tasks"])
    if recipe.data.test_documents == "error":
        _refuse(refused)
    kept: dict[str, list[Prompt]] = {}
    left_out: dict[str, dict[str, int]] = {}
    for task in tasks:
        asked = [*_prompts(task, recipe, tokenizer, refused[task.name])]
        kept[task.name] = [prompt for prompt in asked if prompt.tokens + answer_tokens(recipe) <= recipe.context]
        left_out[task.name] = {"in a test set": len(refused[task.name]), "too long": len(asked) - len(kept[task.name])}
        if recipe.data.too_long == "error" and left_out[task.name]["too long"]:
            longest = max(asked, key=lambda prompt: prompt.tokens)
            raise DataError(
                f"{task.name}, document {longest.example.id}: a prompt of {longest.tokens} tokens and an answer of "
                f"{answer_tokens(recipe)} do not fit the context of {recipe.context}; raise context, lower "
                "rollouts.tokens, or set data.too_long: skip"
            )
        if not kept[task.name]:
            why = ", ".join(f"{count:,} {what}" for what, count in left_out[task.name].items() if count)
            raise DataError(f"nothing is left of the train split of {task.name}: {why or 'it is empty'}")
    counts = shares({name: len(prompts) for name, prompts in kept.items()}, recipe.data.weights)
    rows = [row for name, prompts in kept.items() for row in _repeated(prompts, counts[name], f"{recipe.seed}/{name}")]
    found = sum(len(places) for places in refused.values())
    looked = TestSets(tasks=tested, found=found, left_out=found)
    return Prompts(rows=rows, left_out=left_out, test_sets=looked)


def shares(sizes: Mapping[str, int], weights: Mapping[str, float] | None) -> Mapping[str, int]:
    """Prompts of each task in a pass: in the ratio of the weights, as few as have each document come at least once."""
    if weights is None:
        return sizes
    unit = max(size / weights[name] for name, size in sizes.items())
    return {name: max(size, round(unit * weights[name])) for name, size in sizes.items()}


def in_test_sets(task: Task, index: TestIndex) -> dict[str, str]:
    """Ids of train documents that stand in a test set, whole or in a passage, each with the "TASK/ID" of that place."""
    found = mibe.also_in_test(task)
    for example in mibe.examples(task, "train"):
        if example.id in found:
            continue
        texts = [*example.inputs.values(), *example.choices, *([example.source] if example.source else [])]
        if place := index.place_of(texts):
            found[example.id] = place
    return found


def _refuse(refused: Mapping[str, Mapping[str, str]]) -> None:
    """Raise `DataError` where a task has documents of a test set."""
    places = [f"{name}/{ident} (= {place})" for name, found in refused.items() for ident, place in found.items()]
    if places:
        raise DataError(
            f"{len(places)} documents of the train splits also stand in a test set, whole or in a passage: "
            f"{listed(places)}; data.test_documents: skip leaves them out of the training"
        )


def _prompts(task: Task, recipe: GrpoRecipe, tokenizer: Any, refused: Mapping[str, str]) -> Iterator[Prompt]:
    """The documents of the train split that are not refused."""
    chat = choose_form(recipe.data.form, tokenizer) == "chat"
    samples = mibe.training_samples(
        task,
        "train",
        tokenizer=tokenizer,
        context_window=recipe.context,
        chat_template=chat,
        answer_tokens=answer_tokens(recipe),
    )
    for example, sample in zip(mibe.examples(task, "train"), samples, strict=True):
        if example.id in refused:
            continue
        turns = tuple({"role": turn["role"], "content": turn["content"]} for turn in sample.messages)
        asked = turns if chat else "\n\n".join(turn["content"] for turn in turns)
        yield Prompt(task=task.name, example=example, asked=asked, tokens=_length(asked, tokenizer), stop=sample.stop)


def _length(asked: str | Sequence[Mapping[str, str]], tokenizer: Any) -> int:
    """Tokens of a prompt, as TRL makes them."""
    if isinstance(asked, str):
        return len(tokenizer(asked)["input_ids"])
    text: str = tokenizer.apply_chat_template(list(asked), tokenize=False, add_generation_prompt=True)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _repeated(prompts: Sequence[Prompt], count: int, seed: str) -> Iterator[Prompt]:
    """So many prompts: all of them as often as they fit in, and some once more."""
    times, more = divmod(count, len(prompts))
    for _ in range(times):
        yield from prompts
    yield from random.Random(seed).sample(prompts, more)

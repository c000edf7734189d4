"""A task's documents as training samples: the prompts that `mibe eval` asks, each with the answer its parser reads.

This is all that a trainer needs of mibe. What must not be trained on is named by `also_in_test`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mibe.data.documents import check_split, examples, prepared_splits
from mibe.models.base import Message, Renderer
from mibe.models.local.counting import Estimate, TokenizerOnly
from mibe.prompting import PromptBuilder, content_hash, stop_strings
from mibe.registry import all_tasks
from mibe.task import Task

END_OF_ANSWER = 8
"""Tokens kept free behind an answer, for what ends a turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSample:
    """One document: the turns before the answer, the answer, and whether a long field was cut to fit the window.

    `stop` is what ends an answer in plain text, as in `mibe eval`; an answer in a chat ends its own turn.
    """

    id: str
    messages: tuple[Message, ...]
    answer: str
    cut: bool
    stop: tuple[str, ...] = ()


def training_samples(
    task: Task,
    split: str = "train",
    *,
    tokenizer: Any = None,
    context_window: int | None = None,
    chat_template: bool = True,
    answer_tokens: int | None = None,
) -> Iterator[TrainingSample]:
    """The samples of a split, in its order, zero-shot and under the default protocol.

    The answer is what a worked example of the task shows. With a `tokenizer` (of transformers) and a `context_window`,
    fields that may be cut are cut in the middle, as `mibe eval` does, until prompt and answer fit the window together;
    a sample that cannot be cut that far comes whole. `chat_template` says whether the tokenizer's template, where it
    has one, will lay the turns out; `answer_tokens` is the room for an answer of the model's own, in place of that for
    the document's.

    Raises
    ------
    DataError, UsageError
        When the data is not prepared, is damaged, or has no such split.
    """
    check_split(task, split)
    renderer: Renderer = Estimate(1.0)
    if tokenizer is not None:
        renderer = TokenizerOnly(task.name, tokenizer, chat_template=chat_template, context_window=context_window)
    stop = stop_strings(task.prompt, chat=renderer.is_chat)
    for example in examples(task, split):
        answer = task.prompt.answer(example)
        room = renderer.count_tokens(answer) + END_OF_ANSWER if answer_tokens is None else answer_tokens
        built = PromptBuilder(task, renderer, None, max_new_tokens=room).build(example)
        yield TrainingSample(id=example.id, messages=built.messages, answer=answer, cut=built.cut, stop=stop)


def also_in_test(task: Task, split: str = "train") -> dict[str, str]:
    """Ids of a split's documents that also stand in a prepared test set, each with the "TASK/ID" of one such place.

    Two documents are the same when a model would be shown the same of them, white space and case aside. The task's own
    test set is looked through before the others.

    Raises
    ------
    DataError, UsageError
        When the data is not prepared, is damaged, or has no such split.
    """
    check_split(task, split)
    hashes = {example.id: content_hash(example) for example in examples(task, split)}
    wanted, found = frozenset(hashes.values()), dict[int, str]()
    others = (other for other in all_tasks() if other.name != task.name)
    for other in (task, *others):
        if "test" not in prepared_splits(other):
            continue
        for example in examples(other, "test"):
            if (seen := content_hash(example)) in wanted:
                found.setdefault(seen, f"{other.name}/{example.id}")
    return {ident: found[seen] for ident, seen in hashes.items() if seen in found}

"""A file of questions in pairs, put to a model: the same file with answers in the place of questions."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mibe.analysis.pairs_sent import check_sending, guarded
from mibe.data.disk import disk_error, write_atomically
from mibe.data.pairs import PairFile
from mibe.data_use import Egress
from mibe.errors import ModelError
from mibe.models.base import Message, Model, Request, Response, Sampling
from mibe.models.reasoning import room_to_think
from mibe.models.streaming import chunks, responses
from mibe.parsers.outcome import read
from mibe.prompting import PromptBuilder, stop_strings
from mibe.registry import load_task
from mibe.results import schema
from mibe.results.cache import ResponseCache, as_kept, cache_key, cache_path
from mibe.task import AccessLevel, Example, Task, letter

NEW_TOKENS = 512
"""Room for an answer in free text."""
NO_ANSWER = "none"
"""What stands in the place of an answer that cannot be read."""
LOOKUP = 256


class Cell(NamedTuple):
    """One question of a file: where it stands, and its options."""

    row: int
    column: str
    text: str
    options: tuple[str, ...]


def ask_pairs(
    file: PairFile,
    model: Model,
    answers: Path,
    *,
    max_new_tokens: int = NEW_TOKENS,
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
) -> Egress | None:
    """Put every version of every question to a model, greedily, and write the file with its answers.

    A question with options is asked as MedQA's are, and its answer is a letter; another is a user's turn, and its
    answer is the text. What was answered stands in the response cache, so that the same call goes on. Returns what left
    this machine under an agreement.

    Raises `ModelError` where the model fails at a question, `RunError` where the file cannot be written, `DataUseError`
    before credentialed text reaches a remote model without its user's word.
    """
    leaving = check_sending(file, model, allow_egress, agreement)
    _write(file, answers, guarded(file, model, partial(_answers, file, model, max_new_tokens)))
    return leaving


def _answers(file: PairFile, model: Model, max_new_tokens: int) -> dict[tuple[int, str], str]:
    """Row and column → what was answered."""
    found: dict[tuple[int, str], str] = {}
    keyed = model.identity is not None
    with closing(ResponseCache(cache_path())) as cache:
        for chunk in chunks(_cells(file), LOOKUP):
            asked = [(cell, *_request(model, cell, max_new_tokens)) for cell in chunk]
            keys = {cell: _key(model, request) for cell, request, _ in asked} if keyed else {}
            stored = cache.get(list(keys.values()), schema.answer) if keyed else {}
            waiting = {}
            for cell, request, task in asked:
                if keyed and keys[cell] in stored:
                    found[cell.row, cell.column] = _read(cell, task, Response(**stored[keys[cell]]["response"]))
                else:
                    waiting[cell] = request, task
            for cell, response in responses(model, ((cell, request) for cell, (request, _) in waiting.items())):
                if response.finish_reason == "error":
                    raise ModelError(f"{model.name}: {response.error}; the same command goes on where it stopped")
                if keyed:
                    cache.put({keys[cell]: {"response": as_kept(response)}})
                found[cell.row, cell.column] = _read(cell, waiting[cell][1], response)
    return found


def _cells(file: PairFile) -> Iterator[Cell]:
    """Every version once, also where two attributes share it; those of one question side by side."""
    columns = list(dict.fromkeys(column for own in file.columns.values() for column in own.values()))
    for number, row in enumerate(file.rows):
        for column in columns:
            if row.get(column, "").strip():
                yield Cell(number, column, row[column], file.options[number])


def _request(model: Model, cell: Cell, room: int) -> tuple[Request, Task | None]:
    """What the model is asked, and the task whose parser reads the answer."""
    if not cell.options:
        messages = (Message(role="user", content=cell.text),)
        return Request(messages, model.render(messages), _sampling(model, room)), None
    task = _task(len(cell.options))
    example = Example(id=str(cell.row), inputs={"question": cell.text}, target="A", choices=cell.options)
    sampling = _sampling(model, task.max_new_tokens)
    rendered = PromptBuilder(task, model, None, max_new_tokens=sampling.room).build(example)
    if rendered.problem is not None:
        raise ModelError(f"question {cell.row + 1}: {rendered.problem}")
    sampling = replace(sampling, stop=stop_strings(task.prompt, chat=model.is_chat))
    return Request(rendered.messages, rendered.text, sampling), task


def _task(size: int) -> Task:
    """MedQA's task for questions with so many options."""
    task = load_task("medqa_4")
    last = task.prompt.instruction.replace("from A to D", f"from A to {letter(size - 1)}")
    return replace(task, prompt=replace(task.prompt, instruction=last))


def _sampling(model: Model, room: int) -> Sampling:
    return Sampling(max_new_tokens=room, thinking_budget=room_to_think(model, None, room))


def _key(model: Model, request: Request) -> bytes:
    identity: Mapping[str, object] = model.identity or {}
    return cache_key(identity, request.text, request.sampling.in_key())


def _read(cell: Cell, task: Task | None, response: Response) -> str:
    """The answer: a letter where there are options, else the text behind what a model thought."""
    answer = None if response.answer_at is None else response.answer
    if task is None:
        return (answer or "").strip() or NO_ANSWER
    value = read(answer, response.finish_reason, task.parser, choices=cell.options, inputs={}).value
    return NO_ANSWER if value is None else str(value)


def _write(file: PairFile, path: Path, answers: Mapping[tuple[int, str], str]) -> None:
    """The rows with their ids, right answers and what was answered; of credentialed text for their owner alone."""
    lines = []
    for number, row in enumerate(file.rows):
        kept = {"id": file.ids[number]} | ({} if file.target is None else {file.target: row[file.target]})
        own = {column: answers[number, column] for column in row if (number, column) in answers}
        lines.append(json.dumps(kept | own, ensure_ascii=False))
    try:
        mode = 0o600 if file.access is AccessLevel.CREDENTIALED else None
        write_atomically(path, "".join(f"{line}\n" for line in lines), mode)
    except OSError as error:
        raise disk_error(error, path) from error

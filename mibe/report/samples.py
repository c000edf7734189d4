"""The samples of a run as the files of data that its page loads one by one.

`<number of the task>/index.js` holds, for every sample, the few fields that are filtered by; `outputs-<k>.js` what is
searched; `details-<k>.js` all else that is shown of a sample. Each file is a script that hands over JSON, since a page
that was opened from disk can load nothing else.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from mibe.pages import embed
from mibe.parsers.evidence import evidence
from mibe.report.prompts import Documents
from mibe.report.versions import version_columns
from mibe.results.digests import draw_of
from mibe.results.log import Row
from mibe.results.picking import is_right
from mibe.task import Example, Outcome, Parser, Task
from mibe.terminal.plain import printable
from mibe.terminal.progress import Progress

OUTPUTS, DETAILS = 500, 100
"""Samples in one file: outputs are all loaded for the search, details as a sample is opened."""

MANY = 2000
"""Samples from which on it pays to start other processes."""

OUTCOMES = tuple(outcome.value for outcome in Outcome)
SHOWN = (
    *("finish_reason", "prompt_tokens", "new_tokens", "reasoning_tokens", "budget_cut", "seconds", "cached", "cost"),
    *("metadata", "loglikelihoods", "option_loglikelihoods", "verdicts"),
)

Data = dict[str, Any]
T = TypeVar("T")


def in_order(rows: Sequence[Row]) -> list[Row]:
    """The rows by id, numbers in it by their value, and by draw; in the log they stand as the responses arrived."""

    def place(row: Row) -> tuple[list[tuple[int, str]], int]:
        return [(int(p), "") if p.isdecimal() else (-1, p) for p in _parts(row["id"])], draw_of(row)

    return sorted(rows, key=place)


def name_of(row: Row) -> str:
    """What a sample is called on the page, found by and linked to: its id, and its draw where there are several."""
    name = printable(row["id"])
    return f"{name}, draw {row['draw']}" if "draw" in row else name


def _parts(ident: str) -> list[str]:
    return [part for part in re.split(r"(\d+)", ident) if part]


def index(task: Task, rows: Sequence[Row], *, private: bool) -> Data:
    """The columns that samples are filtered and sorted by.

    Of a credentialed task: ids, outcomes, scores and whether they are right.
    """
    labels = _labels(task, rows) if not private else []
    return {
        "ids": [name_of(row) for row in rows],
        "draws": [row.get("draw") for row in rows],
        "versions": version_columns(task, rows, private=private),
        "outcomes": [OUTCOMES.index(row["outcome"]) for row in rows],
        "right": [is_right(row) for row in rows],
        "score": [score_of(task, row) for row in rows],
        "tokens": [None if private else row.get("new_tokens") for row in rows],
        "seconds": [None if private or row.get("cached") else row.get("seconds") for row in rows],
        "labels": labels,
        "gold": [_numbers(row["target"], labels) for row in rows],
        "read": [_numbers(row["prediction"], labels) for row in rows],
        "outputs": 0 if private else OUTPUTS,
        "details": DETAILS,
    }


def score_of(task: Task, row: Row) -> float | None:
    """The score of a sample that its task is headed by, else its first; None where it has none."""
    scores: Mapping[str, float] = row.get("scores") or {}
    return scores.get(task.headline, next(iter(scores.values()), None))


def _labels(task: Task, rows: Sequence[Row]) -> list[str]:
    """The closed set of answers: the task's labels, or the letters that its questions have."""
    if task.labels:
        return list(task.labels)
    targets = [row["target"] for row in rows]
    return sorted(set(targets)) if all(isinstance(t, str) and re.fullmatch("[A-Z]", t) for t in targets) else []


def _numbers(value: Any, labels: Sequence[str]) -> list[int]:
    """The numbers of a label, or of a set of labels; empty for any other value."""
    values = value if isinstance(value, list) else [value]
    return [labels.index(each) for each in values if isinstance(each, str) and each in labels]


def pieces(row: Row, documents: Documents) -> list[str]:
    """The output as one text, or as three: before what the parser read, that, and after it."""
    output = row.get("output") or ""
    example = documents.examples.get(row["id"])
    if example is None or row["outcome"] != Outcome.PARSED:
        return [output]
    parser = documents.task.parser
    before = row.get("answer_at") or 0
    if not documents.same_version and not _reads_again(row, before, parser, example):
        return [output]
    place = evidence(output[before:], row["prediction"], parser, choices=example.choices, inputs=example.inputs)
    if place is None:
        return [output]
    start, end = before + place[0], before + place[1]
    return [output[:start], output[start:end], output[end:]]


def all_pieces(rows: Sequence[Row], documents: Documents, progress: Progress) -> Iterator[list[str]]:
    """`pieces` of every row, in their order: what takes time, since the parser is asked several times for each output.

    Of many rows all cores look for them, in copies of this process, since not every parser can be sent to another one.
    A process of several threads is not copied: the copy would lack them, and hold their locks for ever.
    """
    cores = os.cpu_count() or 1
    if len(rows) < MANY or cores == 1 or threading.active_count() > 1:
        yield from (pieces(row, documents) for row in counted(rows, progress))
        return
    workers = ProcessPoolExecutor(cores, get_context("fork"), _begin, (documents,))
    try:
        for made in workers.map(_pieces, rows, chunksize=100):
            yield made
            progress.advance()
    finally:
        workers.shutdown(cancel_futures=True)


def _begin(documents: Documents) -> None:
    """Make this process one that looks for answers; Ctrl-C is for the first process alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _OF_WORKER.append(documents)


def _pieces(row: Row) -> list[str]:
    return pieces(row, _OF_WORKER[0])


_OF_WORKER: list[Documents] = []
"""The documents of the task that a worker was begun for; empty elsewhere."""


def _reads_again(row: Row, before: int, parser: Parser, example: Example) -> bool:
    """Whether the parser of another version of the task reads today what the run's did."""
    found = parser(row["output"][before:], choices=example.choices, inputs=example.inputs)
    return bool(found == row["prediction"])


def details(row: Row, documents: Documents) -> Data:
    """What is shown of an opened sample beside its output."""
    prompt, problem = documents.prompt(row)
    return {
        "prompt": prompt,
        "problem": problem,
        "prediction": row["prediction"],
        "target": row["target"],
        "scores": row.get("scores") or {},
        "error": row.get("error"),
        **{name: row[name] for name in SHOWN if row.get(name) not in (None, False)},
    }


def write(
    folder: Path, number: int, task: Task, rows: Sequence[Row], documents: Documents | None, progress: Progress
) -> None:
    """Write the data of one task's samples; without `documents`, as of a credentialed task, ids and scores alone."""
    if documents is None:
        write_files(folder / str(number), index(task, rows, private=True), None, map(scores_alone, rows))
        return
    outputs = all_pieces(rows, documents, progress)
    shown = (details(row, documents) for row in rows)
    write_files(folder / str(number), index(task, rows, private=False), outputs, shown)


def write_files(place: Path, columns: Data, outputs: Iterator[Any] | None, shown: Iterator[Data]) -> None:
    """Write the files of one task's samples into `place`, which is named by the task's number."""
    place.mkdir(parents=True, exist_ok=True)
    _write(place, "index", columns)
    for k, chunk in _chunks(outputs or iter(()), OUTPUTS):
        _write(place, f"outputs-{k}", chunk)
    for k, chunk in _chunks(shown, DETAILS):
        _write(place, f"details-{k}", chunk)


def scores_alone(row: Row) -> Data:
    """What is shown of a sample of a credentialed task."""
    return {"scores": row.get("scores") or {}}


def counted(rows: Sequence[T], progress: Progress) -> Iterator[T]:
    """The rows, each told to `progress` when it is done with."""
    for row in rows:
        yield row
        progress.advance()


def clear(folder: Path) -> None:
    """Remove the data of an earlier report, and nothing else: it may hold samples that this one does not."""
    for path in folder.glob("[0-9]*/*.js"):
        if re.fullmatch(r"index|(?:outputs|details)-\d+", path.stem):
            path.unlink()


def _chunks(items: Iterator[Any], size: int) -> Iterator[tuple[int, list[Any]]]:
    for k in count():
        chunk = list(islice(items, size))
        if not chunk:
            return
        yield k, chunk


def _write(place: Path, name: str, data: Mapping[str, Any] | Sequence[Any]) -> None:
    # A lone surrogate, which JSON can carry and UTF-8 cannot, becomes the escape that JavaScript has for it.
    text = f"mibeData({json.dumps(f'{place.name}/{name}')},{embed(data)});\n"
    (place / f"{name}.js").write_bytes(text.encode("utf-8", "backslashreplace"))

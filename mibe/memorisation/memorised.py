"""Has a model learned test questions by heart? Three tests of each task, their p corrected for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from mibe.data import store
from mibe.data_use import check_egress, check_names, note, without_text_in_errors
from mibe.errors import DataError, DataUseError, UsageError
from mibe.memorisation.asking import Asking
from mibe.memorisation.record import SCHEMA, Memorisation, save
from mibe.memorisation.testing import FEWEST_WORDS, LEAST, ORDER, Finding, Questions, TooFew, comparisons, run_tests
from mibe.memorisation.training import training_lines
from mibe.metrics.comparison import holm
from mibe.models import as_model
from mibe.models.base import Model
from mibe.models.budget import Budget
from mibe.models.pricing import check_max_cost
from mibe.models.service import open_services
from mibe.own.tables import Reading, read_table
from mibe.registry import resolve
from mibe.results import environment
from mibe.results.cache import ResponseCache, cache_path
from mibe.results.record import describe_model, now
from mibe.run.documents import Documents
from mibe.task import Example, Task
from mibe.terminal.news import heard_by
from mibe.terminal.progress import Progress, Silent
from mibe.terminal.version import VERSION

QUESTION = "question"
"""The field of an example, and the column of a file, that holds a question."""

LIMIT = 500
"""Questions of a task that are looked at where nobody says how many."""


def memorised(
    *,
    model: str | Model,
    tasks: str | Iterable[str],
    model_args: Mapping[str, str] | None = None,
    reference: str | Path | None = None,
    reference_is_open: bool = False,
    limit: int | None = LIMIT,
    split: str = "test",
    seed: int = 1234,
    output_dir: str | Path = "runs",
    use_cache: bool = True,
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
    max_cost: float | None = None,
    progress: Progress | None = None,
) -> Memorisation:
    """Test whether a model has learned the questions of tasks by heart, and keep what was found as a record.

    Parameters
    ----------
    model, model_args, tasks, split, seed, output_dir, use_cache, allow_egress, agreement, max_cost, progress:
        As for `mibe.evaluate`. Answers are kept in the response cache, so that the same call goes on.
    reference:
        A table with a column `question`: questions of the same kind that the model cannot have seen, since they were
        made after it. Without one, questions are compared with twins of themselves (`mibe.memorisation.twins`).
    reference_is_open:
        Everybody may see the reference questions, a remote model too.
    limit:
        Questions of each task, those that `mibe eval --limit` takes; None for all.

    Raises
    ------
    UsageError, DataError
        For a name or a number that is not right, a task without questions, and where nothing could be tested.
    DataUseError
        Before credentialed text, or reference questions that are not open, would reach a remote model.
    ModelError
        Where the model cannot be loaded, or fails.
    """
    news = progress or Silent()
    check_max_cost(max_cost)
    check_names(allow_egress)
    chosen = [Documents.select(task, split, limit, seed) for task in resolve(tasks)]
    named = [documents.task for documents in chosen]
    others = None if reference is None else _reference(Path(reference))
    asked = [_questions(documents, others, seed) for documents in chosen]
    training = training_lines(model_args or {}, [task.name for task in named])
    with ExitStack() as held:
        with heard_by(news.message):
            llm = as_model(model, model_args)
        if isinstance(model, str):
            held.callback(llm.close)
        leaving = [check_egress(task, llm, allow_egress, agreement) for task in named]
        if others is not None and llm.is_remote and not reference_is_open:
            raise DataUseError(
                f"{reference}: its questions would leave this machine to {llm.name}, and nothing was sent; "
                "--reference-is-open says that everybody may see them"
            )
        for line in filter(None, (note(task, llm) for task in named)):
            news.message(line)
        open_services([llm], news.message, Budget(max_cost))
        cache = held.enter_context(closing(ResponseCache(cache_path()))) if use_cache else None
        asking = Asking(llm, cache)
        found: list[dict[str, Finding | str]] = []
        for task, questions in zip(named, asked, strict=True):
            news.message(f"{task.name}: {len(questions.texts):,} questions …")
            found.append(without_text_in_errors(task, llm, partial(run_tests, asking, questions)))
        described = describe_model(llm)
    if not any(isinstance(each, Finding) for tests in found for each in tests.values()):
        whole = [_questions(Documents.select(task, split, None, seed), others, seed) for task in named]
        reasons = [f"{task.name}: {why}" for task, tests in zip(named, found, strict=True) for why in tests.values()]
        raise UsageError(
            f"nothing could be tested ({'; '.join(dict.fromkeys(reasons))}); {_next_step(asked, whole, found)}"
        )
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "mibe_version": VERSION,
        "created": now(),
        "model": described,
        "seed": seed,
        "limit": limit,
        "reference": None if reference is None or others is None else _described(Path(reference), others),
        "egress": [asdict(each) for each in leaving if each is not None],
        "training": training,
        "tasks": {
            documents.task.name: _entry(documents, len(questions.texts), tests)
            for documents, questions, tests in zip(chosen, asked, found, strict=True)
        },
        "versions": environment.versions(),
    }
    _correct([entry for task in record["tasks"].values() for entry in task["tests"].values()])
    return save(record, Path(output_dir))


def _next_step(
    asked: Sequence[Questions], whole: Sequence[Questions], found: Sequence[Mapping[str, Finding | str]]
) -> str:
    """What would help where no test could be made: of each task the questions, all that it has, and the reasons."""
    steps: dict[str, None] = {}
    for some, every, tests in zip(asked, whole, found, strict=True):
        with_more = comparisons(every)
        referred, all_referred = (comparisons(replace(each, reference=each.texts)) for each in (some, every))
        for test in (name for name, why in tests.items() if isinstance(why, TooFew)):
            if with_more[test] >= LEAST:
                steps["a larger --limit (0: all)"] = None
            elif test != ORDER and all_referred[test] >= LEAST:
                more = "" if referred[test] >= LEAST else " and a larger --limit (0: all)"
                steps[f"--reference FILE with {LEAST} questions or more of {2 * FEWEST_WORDS} words{more}"] = None
    return (
        f"give {', or '.join(steps)}" if steps else "the questions have too little at any --limit: take other --tasks"
    )


def _questions(documents: Documents, reference: Sequence[str] | None, seed: int) -> Questions:
    """The questions that are looked at: of those that share a note or the like the first alone, since they would agree.

    Raises `UsageError` for a task that has none.
    """
    task = documents.task
    first: dict[str, Example] = {}
    for example in documents:
        first.setdefault(task.cluster(example), example)
    texts = [_question(task, example) for example in first.values()]
    return Questions(examples=list(first.values()), texts=texts, reference=reference, seed=seed)


def _question(task: Task, example: Example) -> str:
    """The text of an example's question."""
    text = example.inputs.get(QUESTION) or (next(iter(example.inputs.values())) if example.choices else None)
    if text is None:
        raise UsageError(f"{task.name} has no questions, and so none that could be learned by heart; leave it out")
    return text


def _reference(path: Path) -> list[str]:
    """The questions in a table. Raises `DataError` or `UsageError` where there are none."""
    table = read_table(path, Reading())
    if table.problems:
        few = "1 row" if len(table.problems) == 1 else f"{len(table.problems):,} rows"
        raise DataError(f"{path}: {few} cannot be read; correct the data:", lines=table.problems)
    if QUESTION not in table.columns:
        raise UsageError(f"{path} has no column {QUESTION!r}; it has {', '.join(table.columns)}")
    return [str(line.cells[QUESTION]) for line in table.lines if line.cells.get(QUESTION) is not None]


def _described(path: Path, questions: Sequence[str]) -> dict[str, Any]:
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "questions": len(questions),
    }


def _entry(documents: Documents, count: int, found: Mapping[str, Finding | str]) -> dict[str, Any]:
    """A task's part of the record."""
    return {
        "data": {
            "split": documents.split,
            "sha256": store.data_fingerprint(documents.task.data_name, documents.split),
            "documents": count,
            "of": documents.total,
        },
        "tests": {name: _figures(each) for name, each in found.items() if isinstance(each, Finding)},
        "left_out": {name: why for name, why in found.items() if isinstance(why, str)},
    }


def _figures(found: Finding) -> dict[str, Any]:
    """A finding as JSON data."""
    return {
        "against": found.against,
        "comparisons": found.comparisons,
        **found.tested._asdict(),
        "score": found.score,
        "other": found.other,
        "p_sharded": found.p_sharded,
    }


def _correct(entries: Sequence[dict[str, Any]]) -> None:
    """Give each its p by Holm's correction for all of them."""
    for entry, corrected in zip(entries, holm([entry["p"] for entry in entries]), strict=True):
        entry["p_holm"] = corrected

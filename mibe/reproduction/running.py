"""Runs the models of a table, each in a folder of its own under the output folder, and goes on where it was stopped.

A run that is finished is taken as it is as long as what was asked is the same: model, weights, tasks, data, settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mibe
from mibe.data import store
from mibe.data_use import is_credentialed
from mibe.errors import DataUseError, ModelError, UsageError
from mibe.judge.judges import EXACT
from mibe.leaderboard.board import same_model
from mibe.leaderboard.runs import Result, read_results
from mibe.models import as_model
from mibe.models.base import Model
from mibe.models.identity import source_identity
from mibe.models.service import Service
from mibe.prompting import template_sha256
from mibe.published.figures import HUMAN
from mibe.registry import load_task
from mibe.reproduction.models import Entry
from mibe.reproduction.table import Reproduction, suite_with
from mibe.results.folder import RECORD
from mibe.results.run import Run, load_run
from mibe.run.evaluate import evaluate
from mibe.run.plan import missing_data
from mibe.run.settings import Settings, arguments_under
from mibe.run.settle import wanted
from mibe.suites import load_suite
from mibe.task import Category, Task
from mibe.terminal.progress import Progress

PROTOCOL = "paper"
ENCODER = "bert-base-multilingual-cased"
"""Of the paper's BERTScore (released code)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a table is run. `bertscore` is the encoder (None: none), `allowed` see `refuse_unpermitted`."""

    output_dir: Path = Path("runs")
    limit: int | None = None
    resamples: int = 1000
    bertscore: str | None = ENCODER
    judge: str | None = None
    use_cache: bool = True
    max_cost: float | None = None
    allowed: Collection[str] = ()

    def settings(self, tasks: Iterable[Task]) -> dict[str, Any]:
        """Those of `mibe.evaluate` for some tasks."""
        summaries = any(task.category is Category.SUMMARIZATION for task in tasks)
        return {
            "protocol": PROTOCOL,
            "limit": self.limit,
            "resamples": self.resamples,
            "bertscore": self.bertscore if summaries else None,
        }


@dataclass(frozen=True, slots=True)
class Done:
    """Task → result of one model, and how many samples got no answer."""

    results: Mapping[str, Result]
    failed: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The tasks that can be run, name → why of those that cannot, and name → another in their place."""

    tasks: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    stand_ins: Mapping[str, str] = field(default_factory=dict)


def choose_tasks(table: Reproduction, suite: str, named: Sequence[str] = ()) -> Choice:
    """The tasks of a table (of them those named) whose data is here; a stand-in for those that have one.

    Raises `UsageError` for a name that the table does not have.
    """
    known = (*table.tasks, *table.stand_ins.values())
    if unknown := [name for name in named if name not in known]:
        raise UsageError(f"--tasks: {unknown[0]} is not in {table.name}; it has {', '.join(known)}")
    chosen: list[str] = []
    left_out, stand_ins = {}, {}
    settings = Settings(num_fewshot=dict(load_suite(suite).num_fewshot), protocol=PROTOCOL)
    for name in named or table.tasks:
        why = missing_data(load_task(name), settings)
        stand_in = table.stand_ins.get(name)
        if why is None:
            chosen.append(name)
            continue
        left_out[name] = why
        if stand_in is not None and missing_data(load_task(stand_in), settings) is None:
            chosen.append(stand_in)
            stand_ins[name] = stand_in
    return Choice(tuple(dict.fromkeys(chosen)), left_out, stand_ins)


def refuse_unpermitted(model: Model, tasks: Iterable[str], allowed: Collection[str] = ()) -> None:
    """Raise `DataUseError` before a remote model gets more than the eight data sets that the paper sent to such.

    These are the suite `commercial`. `allowed` adds tasks by their user's word, such as own cases; never credentialed.
    """
    if not model.is_remote:
        return
    permitted = load_suite("commercial").tasks
    signed = [name for name in allowed if is_credentialed(load_task(name))]
    if signed:
        raise DataUseError(f"--allow-egress: {', '.join(signed)} is credentialed and goes to no remote model from here")
    beyond = [name for name in tasks if name not in permitted and name not in allowed]
    if beyond:
        open_ones = [name for name in beyond if not is_credentialed(load_task(name))]
        advice = f", or, if the text is yours to send, --allow-egress {','.join(open_ones)}" if open_ones else ""
        raise DataUseError(
            f"{model.name} is remote and may get the eight data sets of the suite commercial alone, not "
            f"{', '.join(beyond)}; nothing was sent. Choose --tasks from {','.join(permitted)}{advice}"
        )


def run_entry(
    table: Reproduction, entry: Entry, tasks: Sequence[str], options: Options, progress: Progress | None = None
) -> Done:
    """The results of one model, run now or taken from a finished run.

    Raises
    ------
    UsageError, DataError, ModelError, RunError, LimitReached
        As `mibe.evaluate`; what was done is kept.
    DataUseError
        As `refuse_unpermitted`, before the model is given any text.
    """
    if entry.missing:
        raise ModelError(f"{entry.name} wants {entry.missing}; or leave it out by --models")
    by_suite: dict[str | None, list[str]] = {}
    for task in tasks:
        suite = suite_with(entry.suite, task)
        by_suite.setdefault(None if suite is None else suite.name, []).append(task)
    results: dict[str, Result] = {}
    failed = 0
    for suite_name, members in by_suite.items():
        for together in [[task] for task in members] if entry.is_by_task else [members]:
            run = _run(table, entry, together, suite_name, options, progress)
            results |= {result.task: result for result in read_results([run.path])[0]}
            failed += run.failed
    return Done(results, failed)


def _run(
    table: Reproduction,
    entry: Entry,
    tasks: Sequence[str],
    suite: str | None,
    options: Options,
    progress: Progress | None,
) -> Run:
    args = entry.args_for(tasks[0])
    named, _ = wanted(tasks, suite, {})
    judged = any(task.category is Category.DIAGNOSIS for task in named)
    judge = options.judge if judged else None
    settings = options.settings(named)
    asked = _digest(entry.model, args, named, suite, settings, judge)
    folder = options.output_dir / table.name / f"{_safe(entry.name)}-{asked[:12]}"
    if (done := finished(folder)) is not None:
        if progress is not None:
            progress.message(f"{entry.name}: {done.path} is finished and taken as it is")
        return done
    with closing(as_model(entry.model, arguments_under(PROTOCOL, entry.model, args))) as model:
        refuse_unpermitted(model, tasks, options.allowed)
        return evaluate(
            model=model,
            tasks=tasks,
            suite=suite,
            output_dir=folder,
            use_cache=options.use_cache,
            progress=progress,
            judge=judge,
            max_cost=options.max_cost if isinstance(model, Service) or judge not in (None, EXACT) else None,
            **settings,
        )


def finished(folder: Path) -> Run | None:
    """The finished run in a folder, or None."""
    runs = [load_run(path.parent) for path in sorted(folder.glob(f"*/{RECORD}"))]
    return next((run for run in runs if run.record.get("status") == "finished"), None)


def _digest(
    model: str,
    args: Mapping[str, str],
    tasks: Sequence[Task],
    suite: str | None,
    settings: Mapping[str, Any],
    judge: str | None,
) -> str:
    """Of all that a run's figures follow from, as far as it is known before the model is loaded."""
    content = [[task.name, task.version, template_sha256(task.prompt), *_data(task, suite)] for task in tasks]
    source = source_identity(args["pretrained"], args.get("revision")) if "pretrained" in args else None
    asked = [mibe.__version__, model, dict(args), source, content, suite, dict(settings), judge]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _data(task: Task, suite: str | None) -> list[str]:
    shots = 0 if suite is None else load_suite(suite).num_fewshot[task.name]
    return [store.data_fingerprint(task.data_name, split) for split in ("test", *(["train"] if shots else []))]


def _safe(name: str) -> str:
    return "".join(char if char.isalnum() or char in "._-" else "-" for char in name)


def place_runs(table: Reproduction, paths: Sequence[str]) -> list[tuple[Entry, dict[str, Result]]]:
    """Runs made elsewhere (`mibe eval`, `mibe merge`) as entries with their results, beside the models of their names.

    Raises `RunError` and `UsageError` as `read_results`, and `UsageError` for another number of worked examples.
    """
    found: dict[str, dict[str, Result]] = {}
    for result in read_results(paths, protocol=PROTOCOL)[0] if paths else []:
        if result.task.removesuffix(HUMAN) in (*table.tasks, *table.stand_ins.values()):
            found.setdefault(result.name, {})[result.task] = result
    placed = []
    for name, results in found.items():
        row = next((row for row in table.rows if same_model(name, row.model)), None)
        suite = load_suite(table.suite if row is None else row.suite)
        for task, result in results.items():
            shots = suite.num_fewshot.get(task.removesuffix(HUMAN), 0)
            if result.part.get("num_fewshot", shots) != shots:
                raise UsageError(
                    f"{result.path}: {task} was run with {result.part['num_fewshot']} worked examples, "
                    f"{table.name} has {shots}; run it with --suite {suite.name}"
                )
        entry = Entry(name=row.model if row else name, suite=suite.name, model="", args={}, row=row)
        placed.append((entry, results))
    return placed


def with_ratings(results: Mapping[str, Result], figures: Mapping[str, Any], task: str) -> dict[str, Result]:
    """The results, and beside them those of a task by people's ratings (`mibe.reproduction.ratings`)."""
    result = results[task]
    part = {"data": result.part["data"], "num_fewshot": result.part["num_fewshot"], **figures}
    return {**results, f"{task}{HUMAN}": replace(result, task=f"{task}{HUMAN}", part=part)}

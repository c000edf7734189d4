"""The pipeline: examples → prompts → responses → predictions → scores → run record.

Every response is on disk before the next one is asked for, so a run that ends for whatever reason goes on where it
stopped when the same command is given again.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mibe.data import store
from mibe.documents import Documents, examples
from mibe.errors import DataError, ModelError, UsageError
from mibe.models import as_model
from mibe.models.base import ChoiceRequest, Model, Request, Response, Sampling
from mibe.progress import Progress, Silent, Terminal
from mibe.prompting import PromptBuilder, Rendered, Shots, stop_strings, template_sha256
from mibe.registry import resolve
from mibe.results import record
from mibe.results.cache import ResponseCache, cache_dir, cache_key
from mibe.results.folder import RunFolder, read_record
from mibe.results.log import Row, SampleLog, latest_rows
from mibe.results.run import Run
from mibe.scoring import best_candidate, judge_response, judged, score_rows
from mibe.task import AccessLevel, Example, Outcome, Task

CHUNK = 1024
"""Prompts built and handed to the model at once: enough to sort by length, few enough for flat memory."""

SCORINGS = ("generate", "loglikelihood")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run does, apart from model and tasks. Defaults are the paper's zero-shot setting, greedy.

    `limit` None means all documents; `max_new_tokens` None means each task's own number; `resamples` is the number
    of bootstrap resamples behind each interval.
    """

    num_fewshot: int = 0
    limit: int | None = None
    split: str = "test"
    scoring: str = "generate"
    seed: int = 1234
    max_new_tokens: int | None = None
    fewshot_per_document: bool = False
    resamples: int = 1000

    def __post_init__(self) -> None:
        if self.scoring not in SCORINGS:
            raise UsageError(f"unknown scoring {self.scoring!r}; known: {', '.join(SCORINGS)}")
        if self.num_fewshot < 0:
            raise UsageError(f"--num-fewshot {self.num_fewshot} is out of range; it is a number of examples, 0 or more")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UsageError(f"--max-new-tokens {self.max_new_tokens} is out of range; at least 1")
        if self.resamples < 1:
            raise UsageError(f"--resamples {self.resamples} is out of range; at least 1")


@dataclass(frozen=True)
class Plan:
    """One task of a run: its documents and its worked examples."""

    task: Task
    documents: Documents
    shots: Shots | None
    settings: Settings

    @property
    def max_new_tokens(self) -> int:
        """The limit of an answer: the setting's, else the task's own."""
        return self.settings.max_new_tokens or self.task.max_new_tokens

    @property
    def private(self) -> bool:
        """Whether the text may be seen by its owner alone."""
        return self.task.access.level is AccessLevel.CREDENTIALED


@dataclass(frozen=True, slots=True)
class _Job:
    """One document that a response is wanted for."""

    example: Example
    rendered: Rendered
    key: bytes | None


def evaluate(
    *,
    model: str | Model | Callable[[list[str]], list[str]],
    tasks: str | Iterable[str],
    model_args: Mapping[str, str] | None = None,
    output_dir: str | Path = "runs",
    use_cache: bool = True,
    progress: Progress | None = None,
    **settings: Any,
) -> Run:
    """Score a model on tasks and return the run, which is also on disk under `output_dir`.

    Parameters
    ----------
    model:
        A name ("hf", "demo", …), a `Model`, or any callable from a list of prompts to a list of texts.
    tasks:
        Names of tasks and groups, as a list or separated by commas.
    model_args:
        Arguments of a model given by name, e.g. {"pretrained": PATH, "dtype": "bfloat16"}.
    settings:
        The fields of `Settings`: limit, num_fewshot, split, scoring, seed, max_new_tokens, resamples, …

    Raises
    ------
    UsageError, DataError
        Before the model is loaded, when a name, a number or the data is not right.
    ModelError, RunError
        When the model cannot be loaded, or the run folder is in use or cannot be written. What was done is kept.
    """
    chosen = _settings(settings)
    plans = [plan_task(task, chosen) for task in resolve(tasks)]
    news = progress if progress is not None else (Terminal() if sys.stderr.isatty() else Silent())
    llm = as_model(model, model_args)
    fingerprint = _fingerprint(llm, plans, chosen)
    with RunFolder.open(Path(output_dir), llm.name, fingerprint) as folder:
        cache = ResponseCache(cache_dir() / "responses.sqlite") if use_cache and llm.identity is not None else None
        try:
            return _run(llm, plans, chosen, folder, cache, fingerprint, news)
        finally:
            news.stop()
            llm.close()
            if cache is not None:
                cache.close()


def _settings(values: Mapping[str, Any]) -> Settings:
    unknown = sorted(set(values) - set(Settings.__dataclass_fields__))
    if unknown:
        raise UsageError(f"unknown setting {unknown[0]!r}; known: {', '.join(Settings.__dataclass_fields__)}")
    return Settings(**values)


def plan_task(task: Task, settings: Settings) -> Plan:
    """Choose documents and worked examples, and refuse what the data cannot give, before any model is loaded."""
    documents = Documents.select(task, settings.split, settings.limit, settings.seed)
    if documents.count == 0:
        raise DataError(f"{task.name}: the {settings.split} split is empty; run: mibe data verify {task.data_name}")
    first = next(iter(documents))
    if settings.scoring == "loglikelihood" and (not task.candidates(first) or not isinstance(first.target, str)):
        raise UsageError(f"{task.name} has no closed set of answers; leave out --scoring loglikelihood for it")
    shots = None
    if settings.num_fewshot:
        if "train" not in store.splits(task.data_name) or settings.split == "train":
            raise UsageError(
                f"{task.name}: --num-fewshot {settings.num_fewshot} takes its examples from a train split, and there "
                f"is none here beside the evaluated one; use --num-fewshot 0, or prepare data that has one "
                f"(mibe data prepare {task.data_name} --from PATH)"
            )
        shots = Shots.prepare(
            task,
            examples(task, "train"),
            examples(task, settings.split),
            settings.num_fewshot,
            seed=settings.seed,
            per_document=settings.fewshot_per_document,
        )
    return Plan(task, documents, shots, settings)


def _fingerprint(model: Model, plans: Sequence[Plan], settings: Settings) -> str | None:
    """What makes two commands the same run. None (a model without identity) never resumes."""
    if model.identity is None:
        return None
    tasks = [
        [plan.task.name, plan.task.version, template_sha256(plan.task.prompt), *_data_hashes(plan)] for plan in plans
    ]
    content = json.dumps([model.identity, tasks, asdict(settings)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _data_hashes(plan: Plan) -> list[str]:
    """Content of the evaluated split, and of the train split where worked examples come from it."""
    splits = [plan.documents.split, *(["train"] if plan.shots else [])]
    return [store.data_fingerprint(plan.task.data_name, split) for split in splits]


def _run(
    model: Model,
    plans: Sequence[Plan],
    settings: Settings,
    folder: RunFolder,
    cache: ResponseCache | None,
    fingerprint: str | None,
    progress: Progress,
) -> Run:
    run_record = record.begin(model, plans, settings, fingerprint, previous=_previous(folder))
    folder.write_record(run_record)
    progress.message(f"run folder: {folder.path}")
    try:
        for number, plan in enumerate(plans):
            builder = PromptBuilder(plan.task, model, plan.shots, max_new_tokens=plan.max_new_tokens)
            first = builder.build(next(iter(plan.documents)))
            run_record["tasks"][plan.task.name] = record.describe_task(plan, builder, first)
            folder.write_record(run_record)
            if number == 0 and not plan.private:
                progress.message(record.show_prompt(plan.task.name, first.text))
            _respond_all(model, plan, builder, folder, cache, progress)
            rows = latest_rows(folder.samples(plan.task.name))
            scores = score_rows(plan.task, rows, resamples=settings.resamples, seed=settings.seed)
            run_record["tasks"][plan.task.name] |= scores | {"timing": record.timing(folder.samples(plan.task.name))}
            folder.write_record(run_record)
    except KeyboardInterrupt:
        record.end(run_record, model, "interrupted")
        folder.write_record(run_record)
        raise
    record.end(run_record, model, "finished" if record.is_complete(run_record) else "incomplete")
    folder.write_record(run_record)
    return Run(folder.path, run_record)


def _previous(folder: RunFolder) -> dict[str, Any] | None:
    return read_record(folder.path) if (folder.path / "run.json").exists() else None


def _respond_all(
    model: Model,
    plan: Plan,
    builder: PromptBuilder,
    folder: RunFolder,
    cache: ResponseCache | None,
    progress: Progress,
) -> None:
    """Bring the sample log of one task to a response for every document."""
    path = folder.samples(plan.task.name)
    log = SampleLog(path, private=plan.private)
    try:
        done = {row["id"]: row["prompt_sha256"] for row in latest_rows(path) if row["outcome"] != Outcome.ERROR}
        progress.start(plan.task.name, plan.documents.count, len(done))
        for chunk in _chunks(plan.documents):
            jobs = []
            for example in chunk:
                if example.id in done:
                    continue
                rendered = builder.build(example)
                if rendered.problem is not None:
                    response = Response(text="", finish_reason="error", error=rendered.problem)
                    log.append(_row(plan, example, rendered, response))
                    progress.advance()
                else:
                    jobs.append(_Job(example, rendered, _key(model, plan, example, rendered) if cache else None))
            for row in _answer(model, plan, jobs, cache):
                log.append(row)
                progress.advance()
            log.sync()
        progress.stop()
    finally:
        log.close()


def _answer(model: Model, plan: Plan, jobs: Sequence[_Job], cache: ResponseCache | None) -> Iterator[Row]:
    """Rows for the jobs: those in the cache at once, the others as the model answers."""
    stored = cache.get([job.key for job in jobs if job.key is not None]) if cache else {}
    missing = []
    for job in jobs:
        if job.key in stored:
            yield _row(plan, job.example, job.rendered, **_revive(stored[job.key])) | {"cached": True}
        else:
            missing.append(job)
    if not missing:
        return
    ask = _choose if plan.settings.scoring == "loglikelihood" else _generate
    fresh: dict[bytes, dict[str, Any]] = {}
    try:
        for job, answer in ask(model, plan, missing):
            yield _row(plan, job.example, job.rendered, **answer)
            if cache is not None and job.key is not None and answer["response"].finish_reason != "error":
                fresh[job.key] = {**answer, "response": asdict(answer["response"])}
    finally:
        # One transaction a chunk: the log is what must be safe at once, the cache only saves time.
        if cache is not None:
            cache.put(fresh)


def _revive(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {**stored, "response": Response(**stored["response"])}


def _generate(model: Model, plan: Plan, jobs: Sequence[_Job]) -> Iterator[tuple[_Job, dict[str, Any]]]:
    sampling = _sampling(model, plan)
    requests = [Request(job.rendered.messages, job.rendered.text, sampling) for job in jobs]
    for index, response in model.generate(requests):
        yield jobs[index], {"response": response}


def _choose(model: Model, plan: Plan, jobs: Sequence[_Job]) -> Iterator[tuple[_Job, dict[str, Any]]]:
    # After a chat template's generation prompt the answer stands alone; after a cue it follows a space.
    space = "" if model.is_chat else " "
    requests = [
        ChoiceRequest(job.rendered.text, tuple(space + text for _, text in plan.task.candidates(job.example)))
        for job in jobs
    ]
    before = time.perf_counter()
    for index, values in model.loglikelihood(requests):
        now = time.perf_counter()
        response = Response(text="", finish_reason="stop", seconds=now - before)
        before = now
        yield jobs[index], {"response": response, "loglikelihoods": list(values)}


def _sampling(model: Model, plan: Plan) -> Sampling:
    return Sampling(
        max_new_tokens=plan.max_new_tokens,
        stop=stop_strings(plan.task.prompt, chat=model.is_chat),
        seed=plan.settings.seed,
    )


def _key(model: Model, plan: Plan, example: Example, rendered: Rendered) -> bytes:
    if model.identity is None:
        raise ModelError(f"{model.name} has no identity, so its responses cannot be cached")
    asked = (
        [text for _, text in plan.task.candidates(example)]
        if plan.settings.scoring == "loglikelihood"
        else asdict(_sampling(model, plan))
    )
    return cache_key(model.identity, rendered.text, asked, plan.task.name, plan.task.version)


def _row(
    plan: Plan,
    example: Example,
    rendered: Rendered,
    response: Response,
    loglikelihoods: Sequence[float] | None = None,
) -> Row:
    """One line of the sample log."""
    row: Row = {
        "id": example.id,
        "prompt_sha256": rendered.sha256,
        "output": response.text,
        "finish_reason": response.finish_reason,
        "error": response.error,
    }
    if loglikelihoods is None:
        row |= judge_response(plan.task, example, response)
    else:
        row |= judged(plan.task, example, best_candidate(plan.task, example, loglikelihoods))
        row["loglikelihoods"] = list(loglikelihoods)
    return row | {
        "cut": rendered.cut,
        "prompt_tokens": response.prompt_tokens,
        "new_tokens": response.new_tokens,
        "seconds": response.seconds,
        "cached": False,
    }


def _chunks(documents: Iterable[Example]) -> Iterator[list[Example]]:
    iterator = iter(documents)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk

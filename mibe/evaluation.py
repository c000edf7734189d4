"""The pipeline: examples → prompts → responses → predictions → scores → run record.

Every response is on disk before the next one is asked for, so a run that ends for whatever reason goes on where it
stopped when the same command is given again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from mibe import ranks
from mibe.data import store
from mibe.data_use import check_egress, check_names, note, without_text_in_errors
from mibe.errors import LimitReached, UsageError
from mibe.judging import Judge, Judging, load_judge
from mibe.metrics.base import Mean
from mibe.models import as_model
from mibe.models.base import Model
from mibe.models.pricing import Budget, check_max_cost
from mibe.models.service import Batching, Service, open_services
from mibe.planning import Plan, Settings, arguments_under, plan_tasks
from mibe.progress import Progress, Silent, Terminal
from mibe.prompting import PromptBuilder, template_sha256
from mibe.registry import resolve
from mibe.responses import Session, respond_all, submit_all
from mibe.results import record
from mibe.results.cache import ResponseCache, cache_path
from mibe.results.folder import RunFolder
from mibe.results.log import SampleLog, latest_rows
from mibe.results.run import Run
from mibe.scoring import late_metrics, with_late_scores
from mibe.suites import load_suite
from mibe.task import Outcome, Task
from mibe.verdicts import describe_judge, is_judged, judge_samples, judged_tasks, score_task


def evaluate(
    *,
    model: str | Model | Callable[[list[str]], list[str]],
    tasks: str | Iterable[str] | None = None,
    suite: str | None = None,
    model_args: Mapping[str, str] | None = None,
    output_dir: str | Path = "runs",
    use_cache: bool = True,
    progress: Progress | None = None,
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
    judge: Judging | None = None,
    skip_missing: bool = False,
    max_cost: float | None = None,
    **settings: Any,
) -> Run:
    """Score a model on tasks and return the run, which is also on disk under `output_dir`.

    Parameters
    ----------
    model:
        A name ("hf", "demo", …), a `Model`, or any callable from a list of prompts to a list of texts.
    tasks:
        Names of tasks and groups, as a list or separated by commas.
    suite:
        A named setting of the paper, tasks with their numbers of worked examples; with `tasks`, those of its tasks.
    model_args:
        Arguments of a model given by name, e.g. {"pretrained": PATH, "dtype": "bfloat16"}.
    allow_egress, agreement:
        Names of the credentialed tasks whose text a remote model may get, and the agreement that permits it.
    judge:
        Who says whether a predicted diagnosis is the true one: "exact" (spelling alone), MODEL:ARGUMENTS (such as
        "openai:gpt-4o"), or whatever `model` may be. None leaves it to each diagnosis task's own metric.
    skip_missing:
        Leave out the tasks whose data is not here (`skipped` in the run record) in place of refusing to run.
    max_cost:
        USD that a model behind an API may cost, the judge included: the run stops before more is spent.
    settings:
        The fields of `Settings`: limit, shard, num_fewshot, protocol, split, scoring, seed, max_new_tokens, …

    Raises
    ------
    UsageError, DataError
        Before the model is loaded, when a name, a number or the data is not right.
    DataUseError
        Before the model is given any text, when credentialed text would leave this machine unasked.
    ModelError, RunError
        When the model cannot be loaded, or the run folder is in use or cannot be written. What was done is kept.
    LimitReached
        Before `max_cost` is passed, or when an account is empty. What was done is kept, and the same call goes on.
    """
    who = ranks.current()
    check_max_cost(max_cost)
    named, chosen = wanted(tasks, suite, settings)
    check_names(allow_egress)
    plans, skipped = plan_tasks(named, chosen, skip_missing=skip_missing)
    late = late_metrics([plan.task for plan in plans], chosen.bertscore)
    for metric in chain.from_iterable(late.values()):
        metric.check()
    judged = [] if judge is None else judged_tasks([plan.task for plan in plans])
    news = _news(progress, who)
    llm = as_model(model, arguments_under(chosen.protocol, model, model_args))
    plans = [plan.for_model(llm) for plan in plans]
    with ExitStack() as held:
        if isinstance(model, str):
            # A model that was handed over belongs to its owner, who may want it for the next run.
            held.callback(llm.close)
        held.callback(news.stop)
        if who.count > 1 and isinstance(llm, Service):
            # Its limits of cost and rate are those of one process, and one process keeps a server busy.
            raise UsageError(f"{llm.name} answers over the network: run one process, without a launcher")
        if not who.is_first:
            folder = held.enter_context(RunFolder.beside(who.agree(Path())))
            cache = _open_cache(held, llm, use_cache=use_cache)
            return _run_beside(Session(llm, folder, cache, news, ranks=who), plans)
        arbiter = None if judge is None else held.enter_context(closing(load_judge(judge, use_cache=use_cache)))
        receivers = [(plan.task, llm) for plan in plans]
        if arbiter is not None and arbiter.model is not None:
            receivers += [(task, arbiter.model) for task in judged]
        egress = [leaving for to in receivers if (leaving := check_egress(*to, allow_egress, agreement))]
        for line in filter(None, (note(*to) for to in receivers)):
            news.message(line)
        asked = [llm] if arbiter is None or arbiter.model is None else [llm, arbiter.model]
        budget = Budget(max_cost)
        services = open_services(asked, news.message, budget)
        fingerprint = _fingerprint(llm, plans, chosen, arbiter)
        part = "" if chosen.shard is None else f"-shard-{chosen.shard.replace('/', '-of-')}"
        folder = held.enter_context(RunFolder.open(Path(output_dir), llm.name + part, fingerprint))
        begun = record.begin(llm, plans, chosen, fingerprint, suite, egress, previous=folder.earlier_record())
        begun["skipped"] = skipped
        begun["judge"] = None if arbiter is None else describe_judge(arbiter)
        budget.spent = record.spent(folder.path, begun)
        begun["sessions"][-1]["processes"] = who.count
        who.agree(folder.path)
        cache = _open_cache(held, llm, use_cache=use_cache)
        return _run(Session(llm, folder, cache, news, arbiter, who), plans, late, begun, services)


def _news(progress: Progress | None, who: ranks.Ranks) -> Progress:
    """Who hears of the run: of several processes, the first one alone speaks."""
    if not who.is_first:
        return Silent()
    return progress if progress is not None else (Terminal() if sys.stderr.isatty() else Silent())


def _open_cache(held: ExitStack, model: Model, *, use_cache: bool) -> ResponseCache | None:
    cached = use_cache and model.identity is not None
    return held.enter_context(closing(ResponseCache(cache_path()))) if cached else None


def wanted(
    tasks: str | Iterable[str] | None, suite: str | None, settings: Mapping[str, Any]
) -> tuple[list[Task], Settings]:
    """The tasks asked for, by name, by suite or some of a suite's; the settings given count before the suite's."""
    if tasks is None and suite is None:
        raise UsageError("name the tasks or a suite of them (mibe tasks lists both)")
    if suite is None:
        return resolve(tasks or ()), _settings(settings)
    chosen = load_suite(suite)
    named = resolve(chosen.tasks if tasks is None else tasks)
    if others := [task.name for task in named if task.name not in chosen.tasks]:
        raise UsageError(f"the suite {suite} has no {', '.join(others)}; it has {', '.join(chosen.tasks)}")
    return named, _settings({"num_fewshot": dict(chosen.num_fewshot), **settings})


def _settings(values: Mapping[str, Any]) -> Settings:
    unknown = sorted(set(values) - set(Settings.__dataclass_fields__))
    if unknown:
        raise UsageError(f"unknown setting {unknown[0]!r}; known: {', '.join(Settings.__dataclass_fields__)}")
    return Settings(**values)


def _fingerprint(model: Model, plans: Sequence[Plan], settings: Settings, judge: Judge | None) -> str | None:
    """What makes two commands the same run. None (a model or judge without identity) never resumes."""
    if model.identity is None or (judge is not None and judge.identity is None):
        return None
    tasks = [
        [plan.task.name, plan.task.version, template_sha256(plan.task.prompt), *_data_hashes(plan)] for plan in plans
    ]
    asked = [model.identity, tasks, asdict(settings), *([] if judge is None else [judge.identity])]
    content = json.dumps(asked, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _data_hashes(plan: Plan) -> list[str]:
    """Content of the evaluated split, and of the train split where worked examples come from it."""
    splits = [plan.documents.split, *(["train"] if plan.shots else [])]
    return [store.data_fingerprint(plan.task.data_name, split) for split in splits]


def _run(
    session: Session,
    plans: Sequence[Plan],
    late: Mapping[str, tuple[Mean, ...]],
    run_record: record.Record,
    services: Sequence[Service],
) -> Run:
    model, folder, progress = session.model, session.folder, session.progress
    folder.write_record(run_record)
    progress.message(f"run folder: {folder.path}")
    try:
        if isinstance(model, Batching):
            for plan in plans:
                without_text_in_errors(
                    plan.task, model, partial(submit_all, model, session, plan, _builder(session, plan))
                )
        for number, plan in enumerate(plans):
            run_task = partial(_run_task, session, plan, late[plan.task.name], run_record, show=number == 0)
            without_text_in_errors(plan.task, model, run_task)
            record.note_services(run_record, services)
            folder.write_record(run_record)
    except (KeyboardInterrupt, LimitReached) as stop:
        record.note_services(run_record, services)
        record.end(run_record, model, "incomplete" if isinstance(stop, LimitReached) else "interrupted")
        folder.write_record(run_record)
        raise
    record.note_services(run_record, services)
    record.end(run_record, model, "finished" if record.is_complete(run_record) else "incomplete")
    folder.write_record(run_record)
    return Run(folder.path, session.ranks.agree(run_record))


def _run_beside(session: Session, plans: Sequence[Plan]) -> Run:
    """The part of a process other than the first: responses, and nothing else."""
    nothing: record.Record = {}
    for plan in plans:
        respond = partial(respond_all, session, plan, _builder(session, plan))
        without_text_in_errors(plan.task, session.model, respond)
    return Run(session.folder.path, session.ranks.agree(nothing))


def _run_task(session: Session, plan: Plan, late: tuple[Mean, ...], run_record: record.Record, *, show: bool) -> None:
    """Responses, then scores, of one task; the record is on disk after each of the two."""
    folder, task, settings = session.folder, plan.task, plan.settings
    builder = _builder(session, plan)
    first = builder.build(next(iter(plan.documents)))
    run_record["tasks"][task.name] = record.describe_task(plan, builder, first)
    folder.write_record(run_record)
    if show and not plan.private:
        session.progress.message(record.show_prompt(task.name, first.text))
    respond_all(session, plan, builder)
    samples = folder.samples(task.name)
    if session.judge is not None and is_judged(task):
        judge_samples(session.judge, task, samples, session.progress)
    if late:
        _log_late_scores(samples, late, private=plan.private)
    scores = score_task(task, latest_rows(samples), late=late, resamples=settings.resamples, seed=settings.seed)
    run_record["tasks"][task.name] |= scores | {"timing": record.timing(samples)}
    folder.write_record(run_record)


def _builder(session: Session, plan: Plan) -> PromptBuilder:
    return PromptBuilder(plan.task, session.model, plan.shots, max_new_tokens=plan.max_new_tokens)


def _log_late_scores(samples: Path, late: Sequence[Mean], *, private: bool) -> None:
    """Write each sample's part of the late figures into the log, where a comparison of two runs finds it."""
    rows = with_late_scores(latest_rows(samples), late)
    with closing(SampleLog(samples, private=private)) as log:
        for row in rows:
            if row["outcome"] != Outcome.ERROR:
                log.append(row)
        log.sync()

"""The second step of a run: the model, what may reach it, the run folder and its record, the cache and the services."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mibe.data import store
from mibe.data_use import Egress, check_egress, note
from mibe.errors import UsageError
from mibe.judge.judges import Judge, Judging, load_judge
from mibe.judge.verdicts import describe_judge
from mibe.meters import memory
from mibe.metrics.base import Mean
from mibe.models import as_model, ranks
from mibe.models.base import Message, Model
from mibe.models.budget import Budget, Journal
from mibe.models.reasoning import reasoning_of
from mibe.models.service import Service, open_services
from mibe.own.recorded import descriptions
from mibe.prompting import template_sha256
from mibe.results import record
from mibe.results.cache import ResponseCache, cache_path
from mibe.results.folder import RunFolder
from mibe.results.included import definition_of
from mibe.run import description
from mibe.run.asking import news_of, prepare
from mibe.run.plan import Plan
from mibe.run.session import Session
from mibe.run.settings import Settings, arguments_under
from mibe.run.settle import Settled
from mibe.task import Task
from mibe.terminal.news import heard_by
from mibe.terminal.progress import Progress, Silent, Terminal, is_watched
from mibe.variation import VERSION as VARIATION_VERSION


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A run that is ready: the plans as this model is asked them, and the record as it stands so far.

    In a process other than the first the record is empty, and nobody writes it.
    """

    session: Session
    plans: tuple[Plan, ...]
    late: Mapping[str, tuple[Mean, ...]]
    record: record.Record
    services: tuple[Service, ...] = ()


def open_run(
    held: ExitStack,
    settled: Settled,
    *,
    model: str | Model | Callable[[list[str]], list[str]],
    model_args: Mapping[str, str] | None,
    name: str | None,
    version: str | int | None,
    judge: Judging | None,
    output_dir: Path,
    use_cache: bool,
    progress: Progress | None,
    keep: Mapping[str, str],
) -> Opened:
    """Load the model and open what the run needs; `held` closes it again. Raises as `mibe.evaluate` says."""
    who = ranks.current()
    news = _news(progress, who)
    with heard_by(news.message), loading() as took:
        args = arguments_under(settled.settings.protocol, model, model_args)
        llm = as_model(model, args, name=name, version=version)
    if isinstance(model, str):
        # A model that was handed over belongs to its owner, who may want it for the next run.
        held.callback(llm.close)
    held.callback(news.stop)
    prepared = prepare(llm, settled.settings)
    plans = tuple(plan.for_model(llm, prepared) for plan in settled.plans)
    _check_turns(llm, plans)
    if (line := reasoning_line(llm, plans)) is not None:
        news.message(line)
    if who.count > 1 and isinstance(llm, Service):
        # Its limits of cost and rate are those of one process, and one process keeps a server busy.
        raise UsageError(f"{llm.name} answers over the network: run one process, without a launcher")
    if not who.is_first:
        folder = held.enter_context(RunFolder.beside(who.agree(Path())))
        session = Session(llm, folder, _open_cache(held, llm, use_cache=use_cache), news, ranks=who)
        return Opened(session=session, plans=plans, late=settled.late, record={})
    arbiter = None if judge is None else held.enter_context(closing(load_judge(judge, use_cache=use_cache)))
    egress = _may_leave(settled, plans, llm, arbiter, news)
    budget = Budget(settled.max_cost)
    asked = [llm] if arbiter is None or arbiter.model is None else [llm, arbiter.model]
    services = open_services(asked, news.message, budget)
    fingerprint = _fingerprint(llm, plans, settled.settings, arbiter)
    folder = held.enter_context(RunFolder.open(output_dir, _folder_name(llm, settled.settings), fingerprint))
    for name, text in keep.items():
        folder.keep(name, text)
    begun = description.begin(
        llm, plans, settled.settings, fingerprint, settled.suite, egress, previous=folder.earlier_record()
    )
    begun["generation"] = prepared.decoding()
    for line in news_of(llm, prepared):
        news.message(line)
    begun["skipped"] = dict(settled.skipped)
    begun["judge"] = None if arbiter is None else describe_judge(arbiter)
    if any(service.price is not None for service in services):
        held.enter_context(closing(budget))
        budget.keep(
            Journal(folder.path, _shared(llm, plans, settled.settings, arbiter)), record.spent(folder.path, begun)
        )
        if budget.lost:
            news.message(f"${budget.lost:.4f} count as spent: a session that was cut off had requests under way")
    begun["sessions"][-1]["processes"] = who.count
    if isinstance(model, str):
        # Of one that was handed over nobody here knows what it took.
        begun["sessions"][-1]["loading"] = took
    who.agree(folder.path)
    session = Session(llm, folder, _open_cache(held, llm, use_cache=use_cache), news, arbiter, who)
    return Opened(session=session, plans=plans, late=settled.late, record=begun, services=tuple(services))


@contextmanager
def loading() -> Iterator[dict[str, Any]]:
    """A record of what is loaded within: seconds, and this process's resident memory before and after, in bytes."""
    took: dict[str, Any] = {"before_bytes": memory.resident()}
    start = time.perf_counter()
    yield took
    took |= {"seconds": time.perf_counter() - start, "after_bytes": memory.resident()}


def _check_turns(model: Model, plans: Sequence[Plan]) -> None:
    """Lay out the turns of this run once: what a chat template does not take is known now, not at the first prompt."""
    if not model.is_chat:
        return
    asked, answered = Message(role="user", content="a"), Message(role="assistant", content="b")
    system = [] if plans[0].settings.system_prompt is None else [Message(role="system", content="c")]
    model.render([*system, asked, *([answered, asked] if any(plan.shots for plan in plans) else [])])


def reasoning_line(model: Model, plans: Sequence[Plan]) -> str | None:
    """That a model reasons, how that was recognised and how much room it has, in one line; None where it has none."""
    reasoning = reasoning_of(model)
    budgets = sorted({plan.thinking_budget for plan in plans if plan.thinking_budget is not None})
    if not budgets:
        return None
    who = f"{model.name} has room to reason" if reasoning is None else f"{model.name} reasons ({reasoning.how})"
    room = " to ".join(f"{budget:,}" for budget in dict.fromkeys([budgets[0], budgets[-1]]))
    end = "ends the output" if plans[0].settings.at_budget == "stop" else "is met by the closing mark"
    switches = "" if reasoning is None or not reasoning.switches else f"; switched by {', '.join(reasoning.switches)}"
    return f"{who}: {room} tokens before each answer, whose end {end} (--thinking-budget, --at-budget){switches}"


def _news(progress: Progress | None, who: ranks.Ranks) -> Progress:
    """Who hears of the run: of several processes, the first one alone speaks."""
    if not who.is_first:
        return Silent()
    return progress if progress is not None else (Terminal() if is_watched() else Silent())


def _may_leave(
    settled: Settled, plans: Sequence[Plan], model: Model, judge: Judge | None, news: Progress
) -> list[Egress]:
    """What credentialed text will leave, by its user's word; raises before any text is given to model or judge."""
    receivers: list[tuple[Task, Model]] = [(plan.task, model) for plan in plans]
    if judge is not None and judge.model is not None:
        receivers += [(task, judge.model) for task in settled.judged]
    leaving = (check_egress(*to, settled.allow_egress, settled.agreement) for to in receivers)
    egress = [each for each in leaving if each is not None]
    for line in filter(None, (note(*to) for to in receivers)):
        news.message(line)
    return egress


def _open_cache(held: ExitStack, model: Model, *, use_cache: bool) -> ResponseCache | None:
    cached = use_cache and model.identity is not None
    return held.enter_context(closing(ResponseCache(cache_path()))) if cached else None


def _folder_name(model: Model, settings: Settings) -> str:
    return model.name + ("" if settings.shard is None else f"-shard-{settings.shard.replace('/', '-of-')}")


def _fingerprint(model: Model, plans: Sequence[Plan], settings: Settings, judge: Judge | None) -> str | None:
    """What makes two commands the same run. None (a model or judge without identity) never resumes."""
    if model.identity is None or (judge is not None and judge.identity is None):
        return None
    tasks = [
        [
            plan.task.name,
            plan.task.version,
            template_sha256(plan.task.prompt),
            *_data_hashes(plan),
            *definition_of(plan.task.name).values(),
        ]
        for plan in plans
    ]
    own = descriptions(plan.task for plan in plans)
    asked = [model.identity, tasks, settings.asked(), *([] if judge is None else [judge.identity]), *own]
    if settings.vary is not None:
        asked.append(["variation", VARIATION_VERSION])
    content = json.dumps(asked, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _shared(model: Model, plans: Sequence[Plan], settings: Settings, judge: Judge | None) -> str | None:
    """What the shards of one run have in common, and no other run has; None where the run is no shard."""
    return None if settings.shard is None else _fingerprint(model, plans, replace(settings, shard=None), judge)


def _data_hashes(plan: Plan) -> list[str]:
    """Content of the evaluated split, and of the train split where worked examples come from it."""
    splits = [plan.documents.split, *(["train"] if plan.shots else [])]
    return [store.data_fingerprint(plan.task.data_name, split) for split in splits]

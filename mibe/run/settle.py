"""The first step of a run: what is asked, of which documents, with which figures. All that can be refused without a
model is refused here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from mibe.data_use import check_names
from mibe.errors import UsageError, check_all, unknown
from mibe.judge.verdicts import judged_tasks
from mibe.metrics.base import Mean
from mibe.models.loading import check_known
from mibe.models.pricing import check_max_cost
from mibe.registry import resolve
from mibe.run.plan import Plan, plan_tasks
from mibe.run.scoring import late_metrics
from mibe.run.settings import Settings, check_named
from mibe.suites import load_suite
from mibe.task import Task


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A run as it was asked for: one plan a task, and what was settled beside them.

    `skipped` is name → what is missing of the tasks left out; `late` is name → the metrics that see all samples at
    once; `judged` are the tasks that a judge has a say in (none where no judge was named).
    """

    plans: tuple[Plan, ...]
    settings: Settings
    suite: str | None
    skipped: Mapping[str, str]
    late: Mapping[str, tuple[Mean, ...]]
    judged: tuple[Task, ...]
    allow_egress: tuple[str, ...]
    agreement: str | None
    max_cost: float | None


def check_names_together(
    model: object, tasks: str | Iterable[str] | None, suite: str | None, settings: Mapping[str, Any]
) -> None:
    """Raise one `UsageError` that tells of every unknown name of a command: it is put right once, not once a name."""
    check_all(
        *([partial(check_known, model)] if isinstance(model, str) else []),
        *([] if tasks is None else [partial(resolve, tasks)]),
        *([] if suite is None else [partial(load_suite, suite)]),
        partial(check_named, settings),
    )


def settle(
    *,
    tasks: str | Iterable[str] | None,
    suite: str | None,
    settings: Mapping[str, Any],
    skip_missing: bool = False,
    has_judge: bool = False,
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
    max_cost: float | None = None,
) -> Settled:
    """Everything that is known of a run before its model; the arguments are those of `mibe.evaluate`.

    Raises
    ------
    UsageError, DataError
        When a name, a number or the data is not right.
    ModelError
        When what a metric needs is not here.
    """
    check_max_cost(max_cost)
    named, chosen = wanted(tasks, suite, settings)
    check_names(allow_egress)
    plans, skipped = plan_tasks(named, chosen, skip_missing=skip_missing)
    planned = [plan.task for plan in plans]
    late = late_metrics(planned, chosen.asked())
    for metric in chain.from_iterable(late.values()):
        metric.check()
    return Settled(
        plans=tuple(plans),
        settings=chosen,
        suite=suite,
        skipped=skipped,
        late=late,
        judged=tuple(judged_tasks(planned)) if has_judge else (),
        allow_egress=tuple(allow_egress),
        agreement=agreement,
        max_cost=max_cost,
    )


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
    if strange := sorted(set(values) - set(Settings.__dataclass_fields__)):
        raise unknown("setting", strange[0], Settings.__dataclass_fields__)
    return Settings(**values)

"""What a run would send and cost, before anything is sent: prompts, tokens and USD of each task.

Prompts are built as the run would build them and counted by the model's own `count_tokens`; models without a tokenizer
here estimate from above (a token for every 3 bytes). New tokens are at most the limit of each answer; expected are
as many as the reference answers have. Where documents are drawn several times, each draw is a prompt with an answer of
its own. Behind an API each is read, since nobody knows before what its server will have cached; a model on this machine
reads the prompt of a document's draws once.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from mibe.data_use import check_egress, check_names, without_text_of_any
from mibe.errors import UsageError
from mibe.models import load_model
from mibe.models.base import Model
from mibe.models.pricing import Price, Usage
from mibe.models.service import Service
from mibe.run.asking import prepare
from mibe.run.plan import Plan, plan_task
from mibe.run.settings import arguments_under
from mibe.run.settle import wanted
from mibe.task import plain_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEstimate:
    """One task. Costs are USD, None where no price is known; `most` is with every answer as long as it may be."""

    task: str
    prompts: int
    prompt_tokens: int
    expected_new_tokens: int
    most_new_tokens: int
    expected_cost: float | None
    most_cost: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """All tasks of a run, and where the price was found (None: no price is known)."""

    tasks: tuple[TaskEstimate, ...]
    price_source: str | None

    @property
    def total(self) -> TaskEstimate:
        """The sums."""
        known = self.price_source is not None
        return TaskEstimate(
            task="all",
            prompts=sum(task.prompts for task in self.tasks),
            prompt_tokens=sum(task.prompt_tokens for task in self.tasks),
            expected_new_tokens=sum(task.expected_new_tokens for task in self.tasks),
            most_new_tokens=sum(task.most_new_tokens for task in self.tasks),
            expected_cost=sum(task.expected_cost or 0.0 for task in self.tasks) if known else None,
            most_cost=sum(task.most_cost or 0.0 for task in self.tasks) if known else None,
        )


def estimate(plans: Sequence[Plan], model: Model, price: Price | None, *, batch: bool = False) -> Estimate:
    """What these plans would send to the model and cost at this price (with `batch`, in Batch jobs)."""
    tasks = tuple(_estimate_task(plan, model, price, batch) for plan in plans)
    return Estimate(tasks, None if price is None else price.source)


def _estimate_task(plan: Plan, model: Model, price: Price | None, batch: bool) -> TaskEstimate:
    builder, draws = plan.prompts(model), plan.settings.repeats
    reads = draws if model.is_remote or isinstance(model, Service) else 1
    prompts = prompt_tokens = expected = 0
    for example in plan.documents:
        rendered = builder.build(example)
        if rendered.problem is not None:
            continue
        prompts += draws
        prompt_tokens += reads * model.count_tokens(rendered.text)
        expected += draws * min(plan.max_new_tokens, model.count_tokens(plain_answer(example)))
    most = prompts * plan.room

    def cost(new_tokens: int) -> float | None:
        return price.of(Usage(prompt=prompt_tokens, completion=new_tokens), batch=batch) if price else None

    return TaskEstimate(
        task=plan.task.name,
        prompts=prompts,
        prompt_tokens=prompt_tokens,
        expected_new_tokens=expected,
        most_new_tokens=most,
        expected_cost=cost(expected),
        most_cost=cost(most),
    )


def estimate_run(
    *,
    model: str,
    tasks: str | Iterable[str] | None = None,
    suite: str | None = None,
    model_args: Mapping[str, str] | None = None,
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
    **settings: Any,
) -> Estimate:
    """What `mibe.run.evaluate.evaluate` with the same arguments would send and cost. Responses in the cache count too.

    Raises `DataUseError` as it does: a plugin may send a prompt away only to lay it out or to count it.
    """
    named, chosen = wanted(tasks, suite, settings)
    if chosen.scoring != "generate":
        raise UsageError("--estimate is for generation; leave out --scoring loglikelihood")
    check_names(allow_egress)
    plans = [plan_task(task, chosen) for task in named]
    with closing(load_model(model, arguments_under(chosen.protocol, model, model_args))) as llm:
        prepared = prepare(llm, chosen)
        plans = [plan.for_model(llm, prepared) for plan in plans]
        for plan in plans:
            check_egress(plan.task, llm, allow_egress, agreement)
        price, batch = (llm.price, llm.batch) if isinstance(llm, Service) else (None, False)
        counted = partial(estimate, plans, llm, price, batch=batch)
        return without_text_of_any([plan.task for plan in plans], llm.name, counted)


def render(found: Estimate, form: str) -> str:
    """The estimate as a table, or as JSON."""
    total = found.total
    if form == "json":
        tasks = [asdict(task) for task in found.tasks]
        return json.dumps({"tasks": tasks, "total": asdict(total), "price_source": found.price_source}, indent=1)
    if form == "csv":
        rows = [[str(value if value is not None else "") for value in asdict(task).values()] for task in found.tasks]
        return "\n".join(",".join(row) for row in [list(asdict(total)), *rows])
    from tabulate import tabulate

    header = ("task", "prompts", "prompt tokens", "new tokens, expected", "at most", "USD, expected", "at most")
    style = {"text": "simple", "markdown": "github", "latex": "latex"}[form]
    rows = [_cells(task) for task in (*found.tasks, total)]
    table = tabulate(rows, headers=header, tablefmt=style, disable_numparse=True, colalign=("left", *["right"] * 6))
    note = "no price is known for this model" if found.price_source is None else f"prices: {found.price_source}"
    return f"{table}\n\nNothing was sent; {note}." if form == "text" else table


def _cells(task: TaskEstimate) -> list[str]:
    tokens = [task.prompts, task.prompt_tokens, task.expected_new_tokens, task.most_new_tokens]
    costs = ["unknown" if cost is None else f"{cost:.4f}" for cost in (task.expected_cost, task.most_cost)]
    return [task.task, *map(str, tokens), *costs]

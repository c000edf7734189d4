"""What a table will take, before anything is loaded or sent: prompts, tokens, GPU hours, USD, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mibe.data_use import is_credentialed
from mibe.errors import MibeError
from mibe.forecast.amounts import Tally, Throughput, cost
from mibe.forecast.hardware import SHAPES, Shape, gpus_of_a_copy
from mibe.forecast.money import TaskEstimate, estimate
from mibe.forecast.prompts import tally
from mibe.models import load_model
from mibe.models.base import Renderer
from mibe.models.local.counting import load_counter
from mibe.models.service import Service
from mibe.registry import load_task
from mibe.reproduction.models import Entry
from mibe.reproduction.running import PROTOCOL, Choice, Options, refuse_unpermitted
from mibe.reproduction.table import Reproduction, suite_with
from mibe.run.plan import Plan, plan_task
from mibe.run.settings import Settings, arguments_under
from mibe.suites import load_suite

PEAK = 312e12
"""Operations a second of one A100, the GPU of the paper, in bfloat16 (its data sheet)."""

READING, WRITING = 0.4, 0.1
"""Shares of the peak that are assumed for prompts and for answers, many requests at once."""

OUTPUT_SHARE = 0.5
CHARACTERS_PER_TOKEN = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What is assumed of the machine. `throughput` is that of one copy of any model (None: by the model's size)."""

    gpu_bytes: float
    dtype: str = "bfloat16"
    throughput: Throughput | None = None

    def throughput_of(self, shape: Shape, gpus: int) -> Throughput:
        """Tokens a second of one copy: two operations a parameter and token."""
        if self.throughput is not None:
            return self.throughput
        tokens = gpus * PEAK / (2 * shape.params)
        return Throughput(prefill=READING * tokens, decode=WRITING * tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What one model will take. None: not known, or does not apply. `why_not` is what is in its way."""

    entry: Entry
    prompts: int
    prompt_tokens: int
    most_new_tokens: int
    gpus: int | None = None
    gpu_hours: float | None = None
    usd: tuple[float, float] | None = None
    why_not: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a table will take: its tasks, as the first model's prompts were counted, and each model."""

    table: Reproduction
    tallies: Mapping[str, Tally]
    shots: Mapping[str, int]
    left_out: Mapping[str, str]
    models: tuple[Forecast, ...]
    counted: str
    hardware: Hardware


def look_ahead(
    table: Reproduction,
    entries: Sequence[Entry],
    choices: Mapping[str, Choice],
    options: Options,
    hardware: Hardware,
) -> Outlook:
    """Build and count every prompt of the table. `choices` are the tasks of each suite that it uses."""
    counters: dict[str, dict[str, dict[str, Tally]]] = {}
    models = []
    for entry in entries:
        counter = _counter(entry)
        by_suite = counters.setdefault(counter.name, {})
        if entry.suite not in by_suite:
            plans = _plans(entry.suite, choices[entry.suite].tasks, options)
            by_suite[entry.suite] = {plan.task.name: tally(plan, counter) for plan in plans}
        models.append(_forecast(entry, by_suite[entry.suite], choices[entry.suite], options, hardware))
    first = next(iter(counters))
    suites = [name for by_suite in counters.values() for name in by_suite]
    return Outlook(
        table=table,
        tallies={name: each for by_task in counters[first].values() for name, each in by_task.items()},
        shots={task: count for name in reversed(suites) for task, count in load_suite(name).num_fewshot.items()},
        left_out={name: why for choice in choices.values() for name, why in choice.left_out.items()},
        models=tuple(models),
        counted=first,
        hardware=hardware,
    )


def _counter(entry: Entry) -> Renderer:
    """The model's own tokenizer where it lies on this disk, else an estimate: nothing is fetched for a plan."""
    here = entry.model == "demo" or (Path(entry.args.get("pretrained", "")).is_dir() and not entry.missing)
    args = arguments_under(PROTOCOL, entry.model, entry.args) or {}
    has_tokenizer = (here and "pretrained" in entry.args) or entry.model == "demo"
    return load_counter(
        entry.model if has_tokenizer else None,
        args if has_tokenizer else {},
        characters_per_token=CHARACTERS_PER_TOKEN,
    )


def _plans(suite: str, tasks: Sequence[str], options: Options) -> list[Plan]:
    shots = load_suite(suite).num_fewshot
    return [
        plan_task(
            load_task(task),
            Settings(
                protocol=PROTOCOL,
                limit=options.limit,
                num_fewshot=shots.get(task, 0) if suite_with(suite, task) else 0,
            ),
        )
        for task in tasks
    ]


def _forecast(
    entry: Entry, tallies: Mapping[str, Tally], choice: Choice, options: Options, hardware: Hardware
) -> Forecast:
    if entry.model == "openai":
        return _forecast_service(entry, choice, options)
    shape = SHAPES.get(entry.shape)
    gpus = None if shape is None else gpus_of_a_copy(shape, hardware.dtype, hardware.gpu_bytes)
    throughput = hardware.throughput if shape is None or gpus is None else hardware.throughput_of(shape, gpus)
    prices = [
        cost(each, output_share=OUTPUT_SHARE, characters_per_token=CHARACTERS_PER_TOKEN, throughput=throughput)
        for each in tallies.values()
    ]
    seconds = None if throughput is None or not prices else sum(price.seconds or 0.0 for price in prices)
    return Forecast(
        entry=entry,
        prompts=sum(each.documents for each in tallies.values()),
        prompt_tokens=sum(each.prompt_tokens for each in tallies.values()),
        most_new_tokens=sum(each.most_new_tokens for each in tallies.values()),
        gpus=gpus,
        gpu_hours=None if seconds is None else seconds * (gpus or 1) / 3600,
        why_not=(entry.missing,) if entry.missing else (),
    )


def _forecast_service(entry: Entry, choice: Choice, options: Options) -> Forecast:
    """Tokens as the model itself estimates them, and USD where its price is known. Nothing is sent."""
    why_not = []
    with closing(load_model(entry.model, entry.args)) as model:
        try:
            refuse_unpermitted(model, choice.tasks, options.allowed)
            if isinstance(model, Service):
                model.connect()
        except MibeError as error:
            why_not.append(str(error))
        plans = [plan.for_model(model, plan.settings) for plan in _plans(entry.suite, choice.tasks, options)]
        permitted = [plan for plan in plans if not (is_credentialed(plan.task) and model.is_remote)]
        price = model.price if isinstance(model, Service) else None
        total: TaskEstimate = estimate(permitted, model, price).total
    known = total.expected_cost is not None and total.most_cost is not None
    return Forecast(
        entry=entry,
        prompts=total.prompts,
        prompt_tokens=total.prompt_tokens,
        most_new_tokens=total.most_new_tokens,
        usd=(total.expected_cost or 0.0, total.most_cost or 0.0) if known else None,
        why_not=tuple(why_not),
    )

"""The forecast of a run: its prompts built and counted, and a probe timed where one is asked for (`docs/scale.md`).

Time follows from the tokens counted and a throughput that the user gives or a probe measured, memory from the shape
of the model.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

from mibe.data import store
from mibe.errors import DataError, UsageError
from mibe.forecast.amounts import CACHED_BYTES, ROW_BYTES, Absent, Cost, Probe, Tally, Throughput, cost
from mibe.forecast.hardware import Fleet, Shape
from mibe.models import as_model
from mibe.models.base import Renderer
from mibe.models.local.counting import load_counter
from mibe.protocols import in_style
from mibe.results.variants import outcomes_asked, samples_asked
from mibe.run.asking import use_template
from mibe.run.evaluate import evaluate
from mibe.run.plan import Plan, plan_task
from mibe.run.settings import Settings, arguments_under
from mibe.run.settle import wanted
from mibe.terminal.progress import Silent
from mibe.variation import document_of


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run will take. `assumptions` says, a sentence each, what the figures rest on."""

    tallies: tuple[Tally, ...]
    costs: tuple[Cost, ...]
    absent: tuple[Absent, ...]
    fleet: Fleet
    shape: Shape | None
    dtype: str
    gpu_bytes: float
    assumptions: tuple[str, ...]

    @property
    def seconds(self) -> float | None:
        """Time on one copy of the model; None when no throughput is known."""
        known = [each.seconds for each in self.costs if each.seconds is not None]
        return sum(known) if known and len(known) == len(self.costs) else None


def forecast(
    *,
    tasks: str | Iterable[str] | None,
    suite: str | None = None,
    model: str | None = None,
    model_args: Mapping[str, str] | None = None,
    fleet: Fleet,
    shape: Shape | None = None,
    dtype: str = "bfloat16",
    gpu_bytes: float,
    throughput: Throughput | None = None,
    probe: int | None = None,
    output_share: float = 0.5,
    characters_per_token: float = 4.0,
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
    **settings: Any,
) -> Forecast:
    """Count the prompts of a run and say what it will take; no weights are loaded unless `probe` asks for it.

    `probe` is the number of documents of each task that the model named is timed on; the other options are those of
    `mibe plan`, and `settings` those of `evaluate`.

    Raises
    ------
    UsageError, DataError, ModelError, DataUseError
        As `evaluate` does; a task whose data is not here is no error but listed as absent.
    """
    if not 0 < output_share <= 1:
        raise UsageError(f"--output-share {output_share} is out of range; above 0 and at most 1")
    if probe is not None and model is None:
        raise UsageError("--probe times a model: name one with --model")
    named, chosen = wanted(tasks, suite, settings)
    absent = tuple(
        Absent(
            task=task.name,
            documents=task.source.counts.get(chosen.split),
            max_new_tokens=chosen.max_new_tokens or in_style(chosen.prompt_style, task).max_new_tokens,
            draws=chosen.repeats,
        )
        for task in named
        if store.find(task.data_name) is None
    )
    missing = {each.task for each in absent}
    plans = [plan_task(task, chosen) for task in named if task.name not in missing]
    if not plans:
        raise DataError(
            f"none of the data is here; mibe data list says how to get that of {', '.join(sorted(missing))}"
        )
    args = arguments_under(chosen.protocol, model, model_args)
    counter = load_counter(model, args or {}, characters_per_token=characters_per_token)
    if hasattr(counter, "use_template_args"):
        use_template(counter, chosen)
    probes: dict[str, Probe] = {}
    if probe is not None and model is not None:
        probes = _probe(plans, model, args, probe, allow_egress=allow_egress, agreement=agreement)
    tallies = tuple(tally(plan, counter) for plan in plans)
    costs = tuple(
        cost(
            each,
            output_share=output_share,
            characters_per_token=characters_per_token,
            throughput=throughput,
            probe=probes.get(each.task),
        )
        for each in tallies
    )
    return Forecast(
        tallies=tallies,
        costs=costs,
        absent=absent,
        fleet=fleet,
        shape=shape,
        dtype=dtype,
        gpu_bytes=gpu_bytes,
        assumptions=(
            *_assumptions(counter, chosen, throughput, probe, output_share, characters_per_token),
            *(_versions(plan) for plan in plans if plan.variation is not None),
        ),
    )


def tally(plan: Plan, model: Renderer) -> Tally:
    """Build every prompt of a task, as a run would, and count."""
    plan = plan.with_room(model)
    builder, draws = plan.prompts(model), plan.settings.repeats
    heads: dict[tuple[str, str, int], tuple[str, int]] = {}
    document = ""
    versions: dict[tuple[str, int], str] = {}
    documents = prompt_tokens = longest = row_bytes = shared_by_versions = 0
    for example in plan.documents:
        text = builder.build(example).text
        tokens = model.count_tokens(text)
        documents += 1
        prompt_tokens += tokens
        longest = max(longest, tokens)
        row = [example.id, example.target, dict(example.metadata)]
        row_bytes += ROW_BYTES + len(json.dumps(row, ensure_ascii=False).encode())
        asked = plan.asked_as(example)
        if document_of(example).id != document:
            document, versions = document_of(example).id, {}
        if asked in versions:
            # It shares more with another version of its document than the head that it has with other documents.
            shared_by_versions += model.count_tokens(_common(versions[asked], text))
            continue
        versions[asked] = text
        # Documents with other examples of their own share the instruction alone.
        examples = "" if plan.shots is None or plan.shots.per_document else plan.shots.matching(example)
        head, count = heads.get((examples, *asked), (text, 0))
        heads[examples, *asked] = (_common(head, text), count + 1)
    shared_tokens = sum((count - 1) * model.count_tokens(head) for head, count in heads.values() if count > 1)
    shared_tokens += shared_by_versions
    return Tally(
        task=plan.task.name,
        documents=documents,
        draws=draws,
        prompt_tokens=draws * prompt_tokens,
        shared_tokens=shared_tokens + (draws - 1) * prompt_tokens,
        max_new_tokens=plan.room,
        longest=longest + plan.room,
        row_bytes=draws * row_bytes,
    )


def _common(one: str, other: str) -> str:
    return os.path.commonprefix([one, other])  # noqa: RUF071  (characters are meant)


def _probe(
    plans: Sequence[Plan],
    model: str,
    args: Mapping[str, str] | None,
    documents: int,
    *,
    allow_egress: Collection[str],
    agreement: str | None,
) -> dict[str, Probe]:
    """A real run of a few documents of each task, timed; what it writes is thrown away."""
    found: dict[str, Probe] = {}
    with closing(as_model(model, args)) as llm, tempfile.TemporaryDirectory() as folder:

        def run(plan: Plan, limit: int) -> tuple[float, dict[str, Any]]:
            begun = time.perf_counter()
            done = evaluate(
                model=llm,
                tasks=[plan.task.name],
                output_dir=folder,
                use_cache=False,
                progress=Silent(),
                allow_egress=allow_egress,
                agreement=agreement,
                **{**asdict(plan.settings), "limit": limit, "resamples": 1, "bertscore": None, "bartscore": None},
            )
            return time.perf_counter() - begun, done.record["tasks"][plan.task.name]

        # The first batch pays for what is set up once: kernels, graphs, connections.
        run(replace(plans[0], settings=replace(plans[0].settings, vary=None)), 1)
        for plan in plans:
            seconds, part = run(plan, min(documents, plan.chosen.count))
            timed = samples_asked(part)
            if failed := outcomes_asked(part)["error"]:
                raise UsageError(f"--probe: {failed} samples of {plan.task.name} failed; run it alone")
            found[plan.task.name] = Probe(documents=timed, seconds=seconds, new_tokens=part["timing"]["new_tokens"])
    return found


def _versions(plan: Plan) -> str:
    """How many of the documents counted are versions."""
    count = plan.chosen.count
    return f"{plan.task.name}: {count:,} documents in {plan.documents.count:,} versions (--vary {plan.settings.vary})"


def _assumptions(
    counter: Renderer,
    settings: Settings,
    throughput: Throughput | None,
    probe: int | None,
    output_share: float,
    characters_per_token: float,
) -> Iterable[str]:
    yield f"tokens: {counter.name}"
    yield (
        f"prompts: {settings.split} split, {settings.num_fewshot} shots, "
        + (f"{settings.limit} documents of each task" if settings.limit else "all documents")
        + (", chat turns" if counter.is_chat else ", plain text")
    )
    yield "shared tokens (a head that an earlier prompt of the task had) are read once, by prefix caching"
    if settings.repeats > 1:
        yield f"draws: {settings.repeats} of each document, whose prompt is shared from the second on"
    if probe is not None:
        yield f"time and output length: measured on {probe} documents of each task, by documents"
    else:
        yield f"output: {output_share:.0%} of each task's limit on average"
        if throughput is not None:
            yield (
                f"throughput of one copy of the model: {throughput.prefill:,.0f} tokens a second read, "
                f"{throughput.decode:,.0f} written"
            )
    yield f"disk: {ROW_BYTES} bytes a sample and {CACHED_BYTES} a cached answer beside texts"
    yield f"a token is {characters_per_token:g} characters on disk; start, loading and scoring are not counted"

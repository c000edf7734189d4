"""What a run is to do with each task: its documents and worked examples, chosen before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from mibe import protocols
from mibe.data import store
from mibe.data.documents import examples
from mibe.data.download import MIRRORS
from mibe.data_use import is_credentialed
from mibe.errors import DataError, UsageError
from mibe.models import ranks
from mibe.models.base import Model, Renderer
from mibe.models.reasoning import room_to_think
from mibe.own.recorded import task_of
from mibe.own.source import OwnSource
from mibe.prompting import PromptBuilder, Shots
from mibe.run.documents import Documents
from mibe.run.settings import Settings, settings_in
from mibe.run.shards import Shard
from mibe.run.varying import VariedDocuments, VariedPrompts
from mibe.task import Example, Task
from mibe.terminal.news import say
from mibe.variation import VERSION, Variation, variation_of

LARGE = 20 * 10**6
"""Bytes of documents from which whoever waits for them is told so."""

Prompts: TypeAlias = PromptBuilder | VariedPrompts
"""What builds a task's prompts."""


@dataclass(frozen=True)
class Plan:
    """One task of a run: its documents and its worked examples; and, once the model is known, its room to think."""

    task: Task
    documents: Documents | VariedDocuments
    shots: Shots | None
    settings: Settings
    thinking_budget: int | None = None
    variation: Variation | None = None

    @property
    def chosen(self) -> Documents:
        """The documents themselves, without their versions."""
        return self.documents.chosen if isinstance(self.documents, VariedDocuments) else self.documents

    @property
    def max_new_tokens(self) -> int:
        """The limit of an answer: the setting's, else the task's own."""
        return self.settings.max_new_tokens or self.task.max_new_tokens

    def for_model(self, model: Model, settings: Settings) -> Plan:
        """The plan as this model is asked under the protocol, with the `settings` that were prepared for it."""

        def asked(task: Task) -> Task:
            return protocols.for_model(settings.protocol, task, model)

        variation = None if self.variation is None else self.variation.with_tasks(asked)
        return replace(self, task=asked(self.task), settings=settings, variation=variation).with_room(model)

    def with_room(self, model: Renderer) -> Plan:
        """The plan with the room that this model has to think; options are scored without any."""
        if self.settings.scoring != "generate":
            return self
        budget = room_to_think(model, self.settings.thinking_budget, self.max_new_tokens)
        return replace(self, thinking_budget=budget)

    @property
    def room(self) -> int:
        """The most tokens that can be written after a prompt: reasoning and answer."""
        return self.max_new_tokens + (self.thinking_budget or 0)

    def task_of(self, example: Example) -> Task:
        """The task as this document, or this version of one, is asked it."""
        return self.task if self.variation is None else self.variation.task_of(example)

    def asked_as(self, example: Example) -> tuple[str, int]:
        """The wording, and the draw of worked examples, in which this document, or this version of one, is asked."""
        return ("", 0) if self.variation is None else self.variation.asked_as(example)

    def prompts(self, model: Renderer) -> Prompts:
        """What builds this task's prompts for a model, with room for all that may be written after them."""
        if self.variation is None:
            return PromptBuilder(self.task, model, self.shots, max_new_tokens=self.room)
        return VariedPrompts(
            self.variation,
            {
                (wording, draw): PromptBuilder(task, model, self._drawn(draw), max_new_tokens=self.room)
                for wording, task in self.variation.tasks.items()
                for draw in range(self.variation.draws)
            },
        )

    def _drawn(self, draw: int) -> Shots | None:
        return None if self.shots is None else replace(self.shots, draw=draw)

    @property
    def private(self) -> bool:
        """Whether the text may be seen by its owner alone."""
        return is_credentialed(self.task)


def plan_tasks(
    tasks: Sequence[Task], settings: Settings, *, skip_missing: bool = False
) -> tuple[list[Plan], dict[str, str]]:
    """The plans of the tasks; and name → what is missing of those that are skipped because their data is not here.

    Raises `DataError`, naming all of them at once, where data is missing and not to be skipped, or nothing is left.
    """
    missing = {task.name: why for task in tasks if (why := missing_data(task, settings))}
    if missing and (len(missing) == len(tasks) or not skip_missing):
        raise DataError(_all_missing(missing, len(tasks)))
    return [plan_task(task, settings) for task in tasks if task.name not in missing], missing


def missing_data(task: Task, settings: Settings) -> str | None:
    """What the run needs of the task's data that is not here, and how to get it; None where all is here."""
    found = store.find(task.data_name)
    if found is None:
        return f"the data of {task.data_name} is not here. {store.how_to_get(task.data_name)}"
    if settings.split not in found.files:
        return f"{task.name} has no {settings.split} split here; it has {', '.join(found.files)}"
    count = settings.shots_of(task.name)
    if count and "train" not in found.files:
        if isinstance(task.source, OwnSource):
            return (
                f"{task.name}: --num-fewshot {count} takes its examples from a train split, and its data has none; "
                "give a second file by --train-data FILE"
            )
        download = f"mibe data download {task.data_name} --with-train, or " if task.data_name in MIRRORS else ""
        return (
            f"{task.name}: --num-fewshot {count} takes its examples from a train split, and there is none here; use "
            f"--num-fewshot 0, or prepare data that has one ({download}mibe data prepare {task.data_name} --from PATH)"
        )
    return None


def _all_missing(missing: Mapping[str, str], tasks: int) -> str:
    if tasks == 1:
        return next(iter(missing.values()))
    lines = [f"  {name}: {why}" for name, why in missing.items()]
    advice = "" if len(missing) == tasks else ", or --skip-missing leaves these tasks out and says so in the record"
    return "\n".join([f"data is missing for {len(missing)} of {tasks} tasks; nothing was run. Get it{advice}:", *lines])


def as_asked(task: Task, settings: Settings) -> Task:
    """The task under the protocol, in the words and the style that the settings say."""
    return _asked(protocols.apply(settings.protocol, task, settings.prompts), settings)


def plan_task(task: Task, settings: Settings) -> Plan:
    """Choose documents and worked examples, and refuse what the data cannot give. The protocol is applied here."""
    plan = plan_documents(task, settings)
    if plan.variation is None:
        return plan
    varied = VariedDocuments.of(plan.chosen, plan.variation, is_shard=settings.shard is not None)
    return replace(plan, documents=varied)


def plan_documents(task: Task, settings: Settings) -> Plan:
    """The same of the documents themselves: no version is made, so a few can be made without those of a whole split."""
    if missing := missing_data(task, settings):
        raise DataError(missing)
    plain = protocols.apply(settings.protocol, task, settings.prompts)
    task = _asked(plain, settings)
    shard = None if settings.shard is None else Shard.parse(settings.shard)
    _say_what_is_read(task, settings)
    documents = Documents.select(task, settings.split, settings.limit, settings.seed, shard)
    if documents.count == 0:
        raise DataError(f"{task.name}: the {settings.split} split is empty; run: mibe data verify {task.data_name}")
    first = next(iter(documents))
    if settings.scoring == "loglikelihood":
        _check_scorable(task, first)
    if settings.constrain:
        _check_closed(task, first)
    shots = _shots(task, settings)
    variation = None if settings.vary is None else vary(plain, settings)
    if shots is not None and variation is not None and variation.draws > 1:
        replace(shots, draw=variation.draws - 1).check_draws()
    return Plan(task, documents, shots, settings, variation=variation)


def vary(task: Task, settings: Settings) -> Variation:
    """How the documents of a task under its protocol are varied; each of its wordings is asked as settings say."""
    variation = variation_of(
        task,
        settings.vary or "",
        seed=settings.seed,
        has_shots=settings.shots_of(task.name) > 0,
        own_answers=settings.constrain or settings.scoring == "loglikelihood",
    )
    return variation.with_tasks(lambda worded: _asked(worded, settings))


def recorded_variation(record: Mapping[str, Any], name: str) -> Variation | None:
    """How the run with this record varied the documents of a task; None where it did not.

    Raises `UsageError` where today's rules make other versions of them.
    """
    if record["settings"].get("vary") is None:
        return None
    version = record["tasks"][name]["variation"]["version"]
    if version != VERSION:
        raise UsageError(
            f"{name}: its documents were varied by version {version} of the rules, and here is version {VERSION}; run "
            "the run's command again"
        )
    settings = Settings(**settings_in(record))
    return vary(protocols.apply(record["protocol"], task_of(record, name), settings.prompts), settings)


def _asked(task: Task, settings: Settings) -> Task:
    """The task in the style and with the system prompt of the settings."""
    task = protocols.in_style(settings.prompt_style, task)
    if settings.system_prompt is None:
        return task
    return replace(task, prompt=replace(task.prompt, system=settings.system_prompt))


def _say_what_is_read(task: Task, settings: Settings) -> None:
    """A line for whoever waits, where reading takes more than a second or two."""
    files = store.require(task.data_name).files
    read = [settings.split, *(["train"] if settings.shots_of(task.name) else [])]
    # A split in memory has been read.
    size = sum(file.stat().st_size for split in read if isinstance(file := files[split], Path))
    if size > LARGE and ranks.current().is_first:
        say(f"reading {task.name} ({size / 1e6:.0f} MB) …")


def _check_scorable(task: Task, example: Example) -> None:
    """Raise `UsageError` where an answer is not one of a few, or one of them can never be the likeliest."""
    answers = task.answers(example)
    if not answers or not isinstance(example.target, str):
        raise UsageError(f"{task.name} has no closed set of answers; leave out --scoring loglikelihood for it")
    for answer in answers:
        if longer := next((other for other in answers if other != answer and other.startswith(answer)), None):
            raise UsageError(
                f"{task.name}: {answer!r} begins {longer!r}, which can so never be the likelier one; leave out "
                "--scoring loglikelihood for it"
            )


def _check_closed(task: Task, example: Example) -> None:
    """Raise `UsageError` where an answer is not one of a few, or the parser would not read one of them as itself."""
    allowed = task.answers(example)
    if not allowed or not isinstance(example.target, str):
        raise UsageError(f"{task.name} has no closed set of answers; leave out --constrain for it")
    for answer in allowed:
        if task.parser(answer, choices=example.choices, inputs=example.inputs) != answer:
            raise UsageError(
                f"{task.name}: its parser does not read {answer!r} as an answer; leave out --constrain for it"
            )


def _shots(task: Task, settings: Settings) -> Shots | None:
    count = settings.shots_of(task.name)
    if not count:
        return None
    if settings.split == "train":
        raise UsageError(
            f"{task.name}: worked examples come from the train split; use --num-fewshot 0 to score that split"
        )
    return Shots.prepare(
        task,
        store.StoredSplit(task.data_name, "train"),
        examples(task, settings.split),
        count,
        seed=settings.seed,
        per_document=settings.fewshot_per_document,
    )

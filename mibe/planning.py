"""What a run is to do, settled before any model is loaded: settings, documents and worked examples of each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mibe import protocols
from mibe.data import store
from mibe.data_use import is_credentialed
from mibe.documents import Documents, examples
from mibe.errors import DataError, UsageError
from mibe.models.base import Model
from mibe.prompting import Shots
from mibe.sharding import Shard
from mibe.task import Task

SCORINGS = ("generate", "loglikelihood")
WITH_CHAT_TEMPLATE = frozenset({"hf", "demo"})
"""Built-in models that lay prompts out by a chat template unless their argument `chat_template` is off."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run does, apart from model and tasks. Defaults are the paper's zero-shot setting, greedy.

    `num_fewshot` is one number for all tasks or a number for each; `limit` None means all documents;
    `max_new_tokens` None means each task's own number; `resamples` is the number of bootstrap resamples behind each
    interval; `bertscore` is the encoder, MODEL or MODEL:LAYER, that summaries are compared with after all responses;
    `shard` "I/N" is the I-th of N equal parts of the documents, one for each machine, which `mibe merge` puts together.
    """

    num_fewshot: int | Mapping[str, int] = 0
    limit: int | None = None
    split: str = "test"
    scoring: str = "generate"
    seed: int = 1234
    max_new_tokens: int | None = None
    fewshot_per_document: bool = False
    resamples: int = 1000
    protocol: str = "default"
    bertscore: str | None = None
    shard: str | None = None

    def __post_init__(self) -> None:
        if self.scoring not in SCORINGS:
            raise UsageError(f"unknown scoring {self.scoring!r}; known: {', '.join(SCORINGS)}")
        numbers = [self.num_fewshot] if isinstance(self.num_fewshot, int) else self.num_fewshot.values()
        if (fewest := min(numbers, default=0)) < 0:
            raise UsageError(f"--num-fewshot {fewest} is out of range; it is a number of examples, 0 or more")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UsageError(f"--max-new-tokens {self.max_new_tokens} is out of range; at least 1")
        if self.resamples < 1:
            raise UsageError(f"--resamples {self.resamples} is out of range; at least 1")
        if self.shard is not None:
            Shard.parse(self.shard)

    def shots_of(self, task: str) -> int:
        """The number of worked examples for one task."""
        return self.num_fewshot if isinstance(self.num_fewshot, int) else self.num_fewshot.get(task, 0)


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

    def for_model(self, model: Model) -> Plan:
        """The plan as this model is asked under the protocol."""
        return replace(self, task=protocols.for_model(self.settings.protocol, self.task, model))

    @property
    def private(self) -> bool:
        """Whether the text may be seen by its owner alone."""
        return is_credentialed(self.task)


def arguments_under(protocol: str, model: object, args: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """A model's arguments: `paper` gives it the bare prompt, as the released code did, unless they say otherwise."""
    if protocol == "paper" and isinstance(model, str) and model in WITH_CHAT_TEMPLATE:
        return {"chat_template": "off", **(args or {})}
    return args


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
        return (
            f"{task.name}: --num-fewshot {count} takes its examples from a train split, and there is none here; use "
            f"--num-fewshot 0, or prepare data that has one (mibe data prepare {task.data_name} --from PATH)"
        )
    return None


def _all_missing(missing: Mapping[str, str], tasks: int) -> str:
    if tasks == 1:
        return next(iter(missing.values()))
    lines = [f"  {name}: {why}" for name, why in missing.items()]
    advice = "" if len(missing) == tasks else ", or --skip-missing leaves these tasks out and says so in the record"
    return "\n".join([f"data is missing for {len(missing)} of {tasks} tasks; nothing was run. Get it{advice}:", *lines])


def plan_task(task: Task, settings: Settings) -> Plan:
    """Choose documents and worked examples, and refuse what the data cannot give. The protocol is applied here."""
    if missing := missing_data(task, settings):
        raise DataError(missing)
    task = protocols.apply(settings.protocol, task)
    shard = None if settings.shard is None else Shard.parse(settings.shard)
    documents = Documents.select(task, settings.split, settings.limit, settings.seed, shard)
    if documents.count == 0:
        raise DataError(f"{task.name}: the {settings.split} split is empty; run: mibe data verify {task.data_name}")
    first = next(iter(documents))
    if settings.scoring == "loglikelihood" and (not task.candidates(first) or not isinstance(first.target, str)):
        raise UsageError(f"{task.name} has no closed set of answers; leave out --scoring loglikelihood for it")
    return Plan(task, documents, _shots(task, settings), settings)


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

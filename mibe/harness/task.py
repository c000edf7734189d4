"""A mibe task as lm-eval's runner sees it: documents, prompts, parser and statistics of mibe, models of lm-eval."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import Task as LmEvalTask
from lm_eval.config.task import TaskConfig
from lm_eval.filters import build_filter_ensemble

from mibe.data.documents import check_split, examples
from mibe.data.store import StoredSplit
from mibe.data_use import is_credentialed
from mibe.errors import DataUseError
from mibe.harness.definitions import prefixed
from mibe.harness.keeping import keep_here
from mibe.metrics.arrays import np
from mibe.metrics.base import is_main, is_sample_mean
from mibe.metrics.outcomes import OutcomeRates
from mibe.models.base import Message
from mibe.parsers.outcome import read
from mibe.prompting import Shots, layout, plain_text, shot_order, stop_strings
from mibe.registry import load_task
from mibe.run.settings import Settings
from mibe.task import Example, Metric, Outcome, Prediction, Task

LOCAL = "MIBE_LM_EVAL_LOCAL"
"""The environment variable by which a user says that lm-eval's model and loggers run on this machine."""

RATES = (Outcome.UNPARSED.value, Outcome.REFUSED.value)
"""Outcomes reported beside the figures. lm-eval passes text alone, so a truncated answer counts as unparsed."""

Document = dict[str, Any]


class MibeTask(LmEvalTask):  # type: ignore[misc]  # lm_eval has no types
    """One registered task. `dataset_name` in its configuration is the task's name in mibe.

    Documents stand in the order in which `mibe eval --limit` takes them, so `--limit N` means the same N in both.
    """

    OUTPUT_TYPE = "generate_until"

    def __init__(self, config: Mapping[str, Any]) -> None:
        # As in lm-eval's own ConfigurableTask, the base class's constructor, which downloads a data set, is not run.
        settings = {key: value for key, value in config.items() if key != "class"}
        self.definition = load_task(settings["dataset_name"])
        refuse_unless_local(self.definition)
        if is_credentialed(self.definition):
            keep_here(self.definition)
        self._config = TaskConfig(**self._defaults() | settings)
        self._instances = None
        self._filters = [build_filter_ensemble("none", [["take_first", None]])]
        self._seed = Settings.seed
        self._chosen: dict[tuple[int, str], tuple[Example, ...]] = {}
        self._prepared: dict[int, Shots] = {}
        split = self._config.test_split
        check_split(self.definition, split)
        ordered = sorted(examples(self.definition, split), key=lambda e: shot_order(self._seed, e.id))
        self._documents = [asdict(example) for example in ordered]
        self.VERSION = self.definition.version

    def _defaults(self) -> dict[str, Any]:
        return {
            "output_type": self.OUTPUT_TYPE,
            "test_split": Settings.split,
            "generation_kwargs": {
                "until": list(self._stops),
                "max_gen_toks": self.definition.max_new_tokens,
                "do_sample": False,
                "temperature": 0.0,
            },
        }

    @property
    def _stops(self) -> tuple[str, ...]:
        return stop_strings(self.definition.prompt, chat=False)

    def has_training_docs(self) -> bool:
        """False: worked examples are chosen by mibe."""
        return False

    def has_validation_docs(self) -> bool:
        """False: see `test_docs`."""
        return False

    def has_test_docs(self) -> bool:
        """True."""
        return True

    def test_docs(self) -> list[Document]:
        """The documents of the scored split, as JSON objects."""
        return self._documents

    def doc_to_text(self, doc: Document) -> str:
        """The prompt without worked examples."""
        return plain_text(self.definition.prompt, (), example_of(doc))

    def doc_to_target(self, doc: Document) -> str:
        """The answer as a worked example would give it."""
        return self.definition.prompt.answer(example_of(doc))

    def set_fewshot_seed(self, seed: int | None = None) -> None:
        """The seed by which worked examples are chosen; mibe's default for None."""
        self._seed = Settings.seed if seed is None else seed
        self._chosen.clear()
        self._prepared.clear()

    def fewshot_context(
        self,
        doc: Document,
        num_fewshot: int,
        *,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        fewshot_as_multiturn: bool = False,
        chat_template: Callable[..., str] | None = None,
        gen_prefix: str | None = None,
    ) -> str:
        """The whole prompt, as mibe lays it out; chat turns go through the model's own template."""
        example = example_of(doc)
        turns = layout(
            self.definition.prompt,
            self._shots(example, num_fewshot),
            example,
            chat=apply_chat_template and fewshot_as_multiturn,
        )
        if system_instruction:
            turns = (Message(role="system", content=system_instruction), *turns)
        if apply_chat_template and chat_template is not None:
            return chat_template(list(turns), add_generation_prompt=True)
        return "\n\n".join(turn["content"] for turn in turns)

    def _shots(self, example: Example, count: int) -> tuple[Example, ...]:
        if not count:
            return ()
        if count not in self._prepared:
            self._prepared[count] = Shots.prepare(
                self.definition,
                StoredSplit(self.definition.data_name, "train"),
                map(example_of, self._documents),
                count,
                seed=self._seed,
            )
        shots = self._prepared[count]
        key = count, shots.matching(example)
        if key not in self._chosen:
            self._chosen[key] = shots.choose(key[1])
        return self._chosen[key]

    def construct_requests(
        self, doc: Document, ctx: str, *, apply_chat_template: bool = False, chat_template: object = None, **kwargs: Any
    ) -> Instance:
        """One generation. A chat model ends its own turn, so the stop strings of plain text are not its concern."""
        generation = deepcopy(self._config.generation_kwargs)
        if apply_chat_template:
            generation["until"] = [text for text in generation["until"] if text not in self._stops]
        return Instance(request_type=self.OUTPUT_TYPE, doc=doc, arguments=(ctx, generation), idx=0, **kwargs)

    def predict(self, doc: Document, output: str) -> Prediction:
        """What mibe's parser reads from one output."""
        example = example_of(doc)
        return read(output, "stop", self.definition.parser, choices=example.choices, inputs=example.inputs)

    def process_results(self, doc: Document, results: Sequence[str]) -> dict[str, Any]:
        """What one output adds to each figure: its value where a figure is a mean, else the metric's statistics."""
        prediction = self.predict(doc, results[0])
        value = self.definition.counts_as(example_of(doc), prediction.value)
        added: dict[str, Any] = {}
        for metric in self.definition.metrics:
            if is_sample_mean(metric):
                values = metric.values([value], [doc["target"]])[0].tolist()
                added |= {name: value for name, value in zip(metric.names, values, strict=True) if is_main(name)}
            else:
                row = metric.statistics([value], [doc["target"]])[0].tolist()
                added |= dict.fromkeys(filter(is_main, metric.names), row)
        rates = dict(zip(OutcomeRates().names, OutcomeRates().values([prediction.outcome.value])[0], strict=True))
        added |= {name: float(rates[name]) for name in RATES}
        return {prefixed(name): value for name, value in added.items()}

    def aggregation(self) -> dict[str, Callable[[Sequence[Any]], float]]:
        """Figure → function of what its samples added."""
        found: dict[str, Callable[[Sequence[Any]], float]] = {}
        for metric in self.definition.metrics:
            for column, name in enumerate(metric.names):
                if is_main(name):
                    # By this very function lm-eval knows that the figure is a mean, and gives its standard error.
                    found[prefixed(name)] = mean if is_sample_mean(metric) else FigureOfTotals(metric, column)
        return found | {prefixed(name): mean for name in RATES}

    def higher_is_better(self) -> dict[str, bool]:
        """Figure → whether more is better."""
        rates = {prefixed(name) for name in RATES}
        return {name: name not in rates for name in self.aggregation()}


@dataclass(frozen=True, eq=False)
class FigureOfTotals:
    """One figure of a metric from the statistics of its samples. Hashed by identity, as lm-eval looks it up."""

    metric: Metric
    column: int

    def __call__(self, rows: Sequence[Sequence[float]]) -> float:
        """The figure of the rows' sum."""
        return float(self.metric.figures(np.array(rows, dtype=np.float64).sum(axis=0))[self.column])


def example_of(doc: Document) -> Example:
    """The example that a document was made from (a document may have been through JSON)."""
    example = Example(**doc)
    return replace(example, choices=tuple(example.choices))


def refuse_unless_local(task: Task) -> None:
    """Raise `DataUseError` for credentialed data unless the user, or `mibe lm-eval`, vouches for the model.

    lm-eval never tells a task which model its prompts go to.
    """
    if is_credentialed(task) and os.environ.get(LOCAL) != "1":
        raise DataUseError(
            f"{task.name} is under an agreement ({task.access.agreement}), and lm-eval does not say where its prompts "
            f"go. Use `mibe lm-eval` with a local model, set {LOCAL}=1 if model and loggers run on this machine, or "
            f"use `mibe eval`"
        )

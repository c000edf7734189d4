"""What a task is: examples, a prompt, a parser and metrics, tied together by `Task`.

A task never sees a model and a parser never sees a target. Everything here is frozen and cheap to import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Value: TypeAlias = Any
"""What a parser returns and a target holds: JSON data (a label, a letter, a list of labels, spans, text)."""


class Category(StrEnum):
    """The categories of the benchmark (paper, table 2), and the two kinds of task beside it."""

    QA = "question answering"
    NER = "named entity recognition"
    RELATION_EXTRACTION = "relation extraction"
    CLASSIFICATION = "classification"
    SUMMARIZATION = "summarization"
    NLI = "natural language inference"
    GENERAL = "general knowledge"
    DIAGNOSIS = "diagnosis"


class AccessLevel(StrEnum):
    """Who may have the data."""

    OPEN = "open"
    NON_COMMERCIAL = "non-commercial"
    CREDENTIALED = "credentialed"


@dataclass(frozen=True, slots=True)
class Access:
    """The access level of a data set and, where one must be signed, the name of the agreement."""

    level: AccessLevel
    agreement: str | None = None


OPEN = Access(AccessLevel.OPEN)
NON_COMMERCIAL = Access(AccessLevel.NON_COMMERCIAL)


def credentialed(agreement: str) -> Access:
    """Access for people who signed `agreement` alone; such text never reaches a remote model unasked."""
    return Access(AccessLevel.CREDENTIALED, agreement)


@dataclass(frozen=True, slots=True)
class Example:
    """One document of a data set, in the one schema that all prepared data shares (`docs/data.md`).

    `inputs` holds the fields a prompt may show; the target is never among them. `choices` are the option
    texts of a multiple-choice question, in the order of their letters A, B, C, …; such an example's target is
    a letter. `metadata` holds what scores are broken down by (e.g. the subject of an MMLU question). `source` is the
    text of the release that the inputs were made from, where they show it in another form (DDI masks two drugs);
    examples of one such text are of one document. No prompt shows it.
    """

    id: str
    inputs: Mapping[str, str]
    target: Value
    choices: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    source: str = ""


class Outcome(StrEnum):
    """What became of one output. Every sample has exactly one outcome."""

    PARSED = "parsed"
    """An answer was read."""
    UNPARSED = "unparsed"
    """The model finished, and no answer can be read: counts as wrong."""
    TRUNCATED = "truncated"
    """The output hit the length limit before an answer could be read: counts as wrong."""
    REFUSED = "refused"
    """The model, or a filter before it, declined to answer: counts as wrong."""
    ERROR = "error"
    """No output came back: never scored, tried again when the run is resumed."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was read from one output: the value (None unless the outcome is parsed) and the outcome."""

    value: Value
    outcome: Outcome


class Parser(Protocol):
    """Reads an answer from raw model output.

    It sees the output, the option texts and the input fields, and never the target. It returns a JSON value, or
    None where no answer can be read. It never raises on any text.
    """

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> Value | None:
        """The answer, or None."""
        ...


class Metric(Protocol):
    """One or more figures computed from predictions and targets.

    A prediction of None is an output from which no answer could be read; it counts as wrong.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the figures, e.g. ("accuracy",) or ("precision[yes]", "recall[yes]", …)."""
        ...

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> NDArray[np.float64]:
        """Shape (samples, statistics). Rows of several sets of samples may be stacked and summed."""
        ...

    def figures(self, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (..., statistics) → (..., figures): column sums to figures, vectorised over leading axes."""
        ...


class Source(Protocol):
    """Where a data set comes from and how its official raw files become examples.

    `read` takes the raw files of the official download (`mibe.data.raw.RawFiles`) and returns split name → examples; it
    raises `DataError` when they are not what they should be.
    """

    @property
    def licence(self) -> str:
        """The licence of the data, as its authors name it."""
        ...

    @property
    def homepage(self) -> str:
        """Where the data set lives."""
        ...

    @property
    def obtain(self) -> str:
        """One sentence: what to download, and where, so that `mibe data prepare` finds its files."""
        ...

    @property
    def hub(self) -> str | None:
        """The Hugging Face hub repository with the prepared test set, if there is one."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """Split → number of examples in the default variant of the official release."""
        ...

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the versions that `read` knows; the first is the default."""
        ...

    @property
    def version(self) -> int:
        """Version of the reader; it goes up whenever the same raw files give other examples."""
        ...

    def read(self, raw: Any, *, variant: str) -> dict[str, list[Example]]:
        """Split name → examples."""
        ...


def plain_answer(example: Example) -> str:
    """The target as a model should write it: text as it is, a list of labels joined by semicolons."""
    return "; ".join(example.target) if isinstance(example.target, list | tuple) else str(example.target)


def shown_fields(example: Example) -> Mapping[str, str]:
    """What a prompt can show: the input fields and, where there are options, these as lettered lines."""
    if not example.choices:
        return example.inputs
    return {**example.inputs, "options": "\n".join(f"{letter(i)}. {text}" for i, text in enumerate(example.choices))}


def own_id(example: Example) -> str:
    """The cluster of a document that depends on no other."""
    return example.id


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt template: instruction, input and cue, as in the paper's table A2.

    `input` is a format string over `fields` of the example: its input fields, and `{options}` for the lettered options.
    `cut` names the fields that may be shortened in the middle when the prompt is too long for the model; the
    instruction, the question and the options never are. `answer` writes the target of a few-shot example. With
    `verbatim`, the three parts follow each other as they stand, worked examples repeat the instruction, and all of it
    is one user turn that no string stops: the form of the released code (`mibe.protocols.paper`). `system` is the
    user's own system prompt, no part of the template: a turn of its own, or the first lines of a plain text.
    """

    instruction: str
    input: str
    cue: str = "OUTPUT:"
    cut: tuple[str, ...] = ()
    answer: Callable[[Example], str] = plain_answer
    fields: Callable[[Example], Mapping[str, str]] = shown_fields
    verbatim: bool = False
    system: str = ""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One dataset with everything needed to score a model on it.

    `labels` is the closed label set, if there is one. `headline` names the figure shown first. `shots` is the
    number of examples in the paper's few-shot setting. `dataset` names the folder of the prepared data where it is
    not the task's own name; `subset` keeps only the examples whose metadata has one of the given values.
    `shots_match` names the metadata field in which a few-shot example must agree with the document (MMLU's
    subject). With `equal_options`, the letter of an option that has the very text of the right one is right too.
    `cluster` names what a document shares with others that are therefore easy or hard together (a note, a premise;
    `mibe.data.clusters`): uncertainty goes by it. `version` goes up whenever prompt, parser or metrics change their
    results.
    """

    name: str
    title: str
    category: Category
    access: Access
    source: Source
    prompt: Prompt
    parser: Parser
    metrics: tuple[Metric, ...]
    headline: str
    shots: int
    max_new_tokens: int
    version: int
    labels: tuple[str, ...] = ()
    dataset: str = ""
    subset: Mapping[str, frozenset[str]] = field(default_factory=dict)
    breakdowns: tuple[str, ...] = ()
    shots_match: str | None = None
    equal_options: bool = True
    cluster: Callable[[Example], str] = own_id

    @property
    def data_name(self) -> str:
        """The folder of this task's prepared data."""
        return self.dataset or self.name

    def includes(self, example: Example) -> bool:
        """Whether an example of the data set belongs to the task's part of it."""
        return all(example.metadata.get(field) in values for field, values in self.subset.items())

    def candidates(self, example: Example) -> list[tuple[str, str]]:
        """The closed set of answers as (value, text) pairs; empty where answers are free text."""
        if example.choices:
            return [(letter(i), text) for i, text in enumerate(example.choices)]
        return [(label, label) for label in self.labels]

    def answers(self, example: Example) -> tuple[str, ...]:
        """The closed set of answers as a model should write them: labels, or the letters of the options."""
        return tuple(value for value, _ in self.candidates(example))

    def counts_as(self, example: Example, value: Value | None) -> Value | None:
        """The answer that a value read from an output counts as: the target for an option of its text, else itself.

        White space aside, texts are the same or not: "BB Bb" and "Bb bb" are two answers of genetics.
        """
        if value == example.target or not (self.equal_options and example.choices and isinstance(value, str)):
            return value
        chosen = _option_words(example, value)
        return example.target if chosen is not None and chosen == _option_words(example, example.target) else value


def _option_words(example: Example, value: str) -> list[str] | None:
    """The words of the option with this letter; None where there is none."""
    index = ord(value) - ord("A") if len(value) == 1 else -1
    return example.choices[index].split() if 0 <= index < len(example.choices) else None


def letter(index: int) -> str:
    """The letter of the option at `index` (0 → A)."""
    return chr(ord("A") + index)

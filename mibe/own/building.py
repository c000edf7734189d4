"""From a settled description to an ordinary `Task`: prompt, parser and metrics are those of the built-in tasks."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from mibe.data.clusters import SIZE
from mibe.errors import UsageError, unknown
from mibe.metrics.classification import Accuracy, MacroF1, MacroF1Gold, PerLabel, PredictedShare, WeightedF1
from mibe.metrics.diagnosis import TopKExact
from mibe.metrics.extraction import EntityMacroF1, EntityMicroF1, EntityScores, OverlapF1, Schema
from mibe.metrics.multilabel import ExampleF1, LabelwiseMacroF1, LabelwiseScores, MicroF1, SubsetAccuracy
from mibe.metrics.qa import SaidF1, SaidMatch
from mibe.metrics.summarization import Rouge
from mibe.own.kinds import Kind
from mibe.own.rows import WHOLE_TEXT, field_of
from mibe.own.source import OwnSource
from mibe.own.targets import EMPTY
from mibe.parsers.extracted import ExtractedAnswer
from mibe.parsers.labels import LabelSet, OneLabel
from mibe.parsers.options import OptionLetter
from mibe.parsers.plain import PlainText
from mibe.parsers.ranked import RankedDiagnoses
from mibe.parsers.spans import MarkedSpans, Span, write_marks
from mibe.parsers.vocabularies import PUBMEDQA_AS_ANSWER_ONLY
from mibe.parsers.words import folded_words
from mibe.task import Access, Category, Example, Metric, Parser, Prompt, Task, own_id

if TYPE_CHECKING:
    from mibe.own.description import TaskFile

CATEGORIES = {
    Kind.LABEL: Category.CLASSIFICATION,
    Kind.LABELS: Category.CLASSIFICATION,
    Kind.CHOICE: Category.QA,
    Kind.SPANS: Category.NER,
    Kind.ANSWER: Category.QA,
    Kind.SUMMARY: Category.SUMMARIZATION,
    Kind.RANKED: Category.DIAGNOSIS,
}
HEADLINES = {
    Kind.LABEL: "accuracy",
    Kind.LABELS: "micro_f1",
    Kind.CHOICE: "accuracy",
    Kind.SPANS: "micro_f1",
    Kind.ANSWER: "exact_match",
    Kind.SUMMARY: "rougeL",
    Kind.RANKED: "top1_accuracy",
}
LENGTHS = {
    Kind.LABEL: 64,
    Kind.LABELS: 128,
    Kind.CHOICE: 128,
    Kind.SPANS: 512,
    Kind.ANSWER: 256,
    Kind.SUMMARY: 512,
    Kind.RANKED: 512,
}
"""Tokens of an answer, as the built-in tasks of each kind have them."""

ORDINARY = frozenset((*PUBMEDQA_AS_ANSWER_ONLY, "true", "false", "none", "other"))
"""Labels that are words of many sentences too."""


@dataclass(frozen=True)
class MarkedAnswer:
    """The text in one field of an example with its target marked: what a model should write."""

    field: str

    def __call__(self, example: Example) -> str:
        """The marked text."""
        return write_marks(example.inputs[self.field], [Span(*entity) for entity in example.target])


@dataclass(frozen=True)
class OfMetadata:
    """The cluster of an example by one of its metadata, as a digest: a patient's number has no place in a log."""

    field: str

    def __call__(self, example: Example) -> str:
        """The digest."""
        return blake2b(example.metadata[self.field].encode("utf-8", "surrogatepass"), digest_size=SIZE).hexdigest()


def build(description: TaskFile, source: OwnSource, *, dataset: str = "") -> Task:
    """The task that a settled description means; `dataset` names its data where that is not the task's own name.

    Raises `UsageError` for what does not fit together: a prompt over columns that are no inputs, a figure that the kind
    does not have, labels that no parser could tell apart.
    """
    kind, name = description.kind, description.name
    assert kind is not None and name is not None
    metrics, headline = _metrics(kind, description)
    return Task(
        name=name,
        title=description.title or f"{name}: own data",
        category=CATEGORIES[kind],
        access=Access(description.access, description.agreement),
        source=source,
        prompt=_prompt(kind, description),
        parser=_parser(kind, description),
        metrics=metrics,
        headline=headline,
        shots=description.shots,
        max_new_tokens=description.max_new_tokens or LENGTHS[kind],
        version=description.version,
        labels=description.labels if kind in (Kind.LABEL, Kind.LABELS, Kind.CHOICE) else (),
        dataset=dataset,
        breakdowns=description.columns.breakdowns,
        cluster=OfMetadata(description.columns.cluster) if description.columns.cluster else own_id,
    )


def _parser(kind: Kind, description: TaskFile) -> Parser:
    labels = description.labels
    # Signs ("+") may stand for a label in the data; in an answer they are punctuation.
    aliases = {form: label for form, label in description.aliases.items() if folded_words(form)}
    if kind in (Kind.LABEL, Kind.LABELS) and (signs := [label for label in labels if not folded_words(label)]):
        raise UsageError(
            f"the labels {', '.join(map(repr, signs))} have neither letters nor digits; say in a task file what they "
            f'stand for: aliases = {{ "{signs[0]}" = "positive" }}'
        )
    if kind is Kind.LABEL:
        parser: Parser = OneLabel(labels, aliases=aliases, as_answer_only=_answers_only(description, aliases))
        return _told_apart(parser, [(label, label) for label in labels])
    if kind is Kind.LABELS:
        # A label that is called "none" is no empty set.
        named = {label.lower() for label in labels}
        nothing = tuple(word for word in LabelSet.none_words if word not in named)
        parser = LabelSet(labels, aliases=aliases, none_words=nothing, most=description.most_labels)
        return _told_apart(parser, [(label, [label]) for label in labels])
    if kind is Kind.SPANS:
        return MarkedSpans(labels, aliases=aliases, field=_text_field(description))
    parsers: dict[Kind, Parser] = {
        Kind.CHOICE: OptionLetter(),
        Kind.ANSWER: ExtractedAnswer(),
        Kind.SUMMARY: PlainText(),
        Kind.RANKED: RankedDiagnoses(),
    }
    return parsers[kind]


def _answers_only(description: TaskFile, aliases: Iterable[str]) -> tuple[str, ...]:
    """The labels and aliases that count only where they stand as the answer: ordinary words, and numbers."""
    forms = (*description.labels, *aliases)
    words = [form for form in forms if form.isdecimal() or form.lower() in ORDINARY]
    return tuple(dict.fromkeys((*description.answer_only, *words)))


def _told_apart(parser: Parser, answers: Sequence[tuple[str, object]]) -> Parser:
    """The parser, where it reads each label as itself."""
    if misread := [answer for answer, value in answers if parser(answer) != value]:
        raise UsageError(
            f"no parser can tell the labels {', '.join(map(repr, misread))} from the others or from ordinary words; "
            "give them other names (in the data, or by aliases: what stands in the data = the label)"
        )
    return parser


def _text_field(description: TaskFile) -> str:
    """The field in which spans are marked."""
    return field_of(description.columns.input[0]) if description.columns.input else WHOLE_TEXT


def _metrics(kind: Kind, description: TaskFile) -> tuple[tuple[Metric, ...], str]:
    """The metrics and the headline: those of the kind, or those that hold the figures asked for, in that order."""
    usual, beside, quiet = _known_metrics(kind, description.labels)
    wanted = description.metrics or (HEADLINES[kind],)
    by_figure = {figure: metric for metric in (*usual, *beside) for figure in metric.names}
    for figure in wanted:
        if figure not in by_figure:
            raise unknown("metric", figure, by_figure)
    chosen = [by_figure[figure] for figure in wanted] if description.metrics else [by_figure[wanted[0]], *usual]
    return tuple(dict.fromkeys((*chosen, *quiet))), wanted[0]


def _known_metrics(
    kind: Kind, labels: tuple[str, ...]
) -> tuple[tuple[Metric, ...], tuple[Metric, ...], tuple[Metric, ...]]:
    """The metrics of a kind: the usual ones, those on demand, and those of single labels, which no table shows."""
    if kind in (Kind.LABEL, Kind.CHOICE):
        one: tuple[Metric, ...] = (Accuracy(), MacroF1(labels), WeightedF1(labels))
        return one, (MacroF1Gold(labels),), (PerLabel(labels), PredictedShare(labels))
    if kind is Kind.LABELS:
        sets: tuple[Metric, ...] = (LabelwiseMacroF1(labels), MicroF1(labels), ExampleF1(), SubsetAccuracy())
        return sets, (), (LabelwiseScores(labels),)
    if kind is Kind.SPANS:
        strict: tuple[Metric, ...] = (EntityMacroF1(labels), EntityMicroF1(labels))
        overlaps = tuple(OverlapF1(labels, schema) for schema in (Schema.PARTIAL, Schema.ENT_TYPE, Schema.EXACT))
        return (*strict, *overlaps), (), (EntityScores(labels),)
    if kind is Kind.ANSWER:
        return (SaidMatch(), SaidF1()), (), ()
    return ((Rouge(),) if kind is Kind.SUMMARY else (TopKExact(),)), (), ()


def _prompt(kind: Kind, description: TaskFile) -> Prompt:
    asked = description.prompt
    fields = [field_of(column) for column in description.columns.input] or [WHOLE_TEXT]
    shown = [*fields, *(["options"] if kind is Kind.CHOICE else [])]
    text = _checked(asked.input, shown) if asked.input is not None else _input(shown)
    cut = asked.cut if asked.cut is not None else description.columns.input or (WHOLE_TEXT,)
    for column in cut:
        if field_of(column) not in fields:
            raise unknown("column in cut", column, fields)
    return Prompt(
        instruction=asked.instruction or _instruction(kind, description),
        input=text,
        cue=asked.cue if asked.cue is not None else "ANSWER:",
        cut=tuple(field_of(column) for column in cut) if kind not in (Kind.SPANS, Kind.CHOICE) or asked.cut else (),
        answer=_answer(kind, description),
    )


def _checked(text: str, fields: Sequence[str]) -> str:
    """A template of the user's. Raises `UsageError` for braces that name no field of the prompt."""
    try:
        named = [field for _, field, _, _ in string.Formatter().parse(text) if field is not None]
    except ValueError as error:
        raise UsageError(f"the prompt's input is no template ({error}); write {{{{ and }}}} for braces") from None
    for field in named:
        if field not in fields:
            raise unknown("column in the prompt's input", field, fields)
    if missing := [field for field in fields if field not in named]:
        raise UsageError(f"the prompt's input does not show {', '.join(f'{{{field}}}' for field in missing)}")
    return text


def _input(fields: Sequence[str]) -> str:
    return "\n".join("OPTIONS:\n{options}" if f == "options" else f"{_words(f).upper()}: {{{f}}}" for f in fields)


def _words(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def _instruction(kind: Kind, description: TaskFile) -> str:
    """What a model is asked, in the words of the built-in tasks where there are such."""
    inputs = " and the ".join(_words(name) for name in description.columns.input) or WHOLE_TEXT
    target = _words(description.columns.target[0])
    labels = ", ".join(description.labels)
    if kind is Kind.LABEL:
        return f"Read the {inputs} and give the {target}. Answer with one of these labels and nothing else: {labels}."
    if kind is Kind.LABELS:
        nothing = "" if EMPTY in description.labels else f", or with {EMPTY} if none applies"
        return (
            f"Read the {inputs} and give the {target}. The labels are: {labels}. Answer with all labels that apply as "
            f"a semicolon-separated list and nothing else{nothing}."
        )
    if kind is Kind.CHOICE:
        return (
            "Answer the following multiple-choice question. Select one correct answer from A to "
            f"{description.labels[-1]} and give its letter only."
        )
    if kind is Kind.SPANS:
        guide = " ".join(f'Use <span class="{label}"> to denote {_words(label)}.' for label in description.labels)
        return (
            f"Mark every {', every '.join(_words(label) for label in description.labels)} in the {inputs}. The "
            "required answer format is the same text with HTML tags to mark up specific entities. Entity Markup Guide: "
            f"{guide}"
        )
    if kind is Kind.ANSWER:
        return f"Read the {inputs} and give the {target}. Answer as briefly as possible, without any explanation."
    if kind is Kind.SUMMARY:
        return f"Read the {inputs} and write the {target}. Write the {target} only."
    return (
        f"Read the {inputs} and list the ten most likely answers for the {target}, the most likely first, as a "
        "numbered list with one a line. Give the names only, without any explanation."
    )


def _answer(kind: Kind, description: TaskFile) -> Callable[[Example], str]:
    answers: dict[Kind, Callable[[Example], str]] = {
        Kind.LABELS: _set_answer,
        Kind.SPANS: MarkedAnswer(_text_field(description)),
        Kind.ANSWER: _first_answer,
        Kind.RANKED: _ranked_answer,
    }
    return answers.get(kind, _text_answer)


def _text_answer(example: Example) -> str:
    return str(example.target)


def _set_answer(example: Example) -> str:
    return "; ".join(example.target) or EMPTY


def _first_answer(example: Example) -> str:
    return example.target if isinstance(example.target, str) else str(example.target[0])


def _ranked_answer(example: Example) -> str:
    return f"1. {example.target[0]}"

"""A task as a reward: responses in, scores from 0 to 1 out, by the task's own parser and metric.

Reading is that of a run (`mibe.run.reading`): the reasoning is stripped, then the parser reads the answer. What a run
reads kindly because nobody gains by it, a policy that is trained on it would learn to write: `mibe.rewards.guards` says
what is no answer here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, NamedTuple

from mibe.data_use import check_egress, is_credentialed, without_text_in_errors
from mibe.errors import ModelError, UsageError
from mibe.judge.judges import Case, Judge, Judgement, Judging, load_judge
from mibe.judge.verdicts import judged_tasks
from mibe.metrics.arrays import FloatArray
from mibe.metrics.diagnosis_names import accepted_names
from mibe.models.base import FinishReason
from mibe.parsers.closed import ClosedAnswer
from mibe.parsers.labels import LabelSet
from mibe.parsers.outcome import read
from mibe.parsers.reasoning import Format, opened_by, split
from mibe.registry import load_task
from mibe.rewards.guards import admitted
from mibe.rewards.hedging import leaves_open
from mibe.rewards.measures import Measure, ReciprocalRank, measure_of
from mibe.rewards.terms import brevity, in_form
from mibe.rewards.texts import Text, last_text
from mibe.task import Example, Outcome, Prediction, Task, Value
from mibe.terminal.characters import sound

REMEMBERED = 65_536
"""Readings of short answers that are kept: the draws of a group often say the same."""

SHORT = 300
"""Characters of an answer whose reading is kept."""


class Rewarded(NamedTuple):
    """What one response gets: the score, what became of it, and what was read (None: no answer).

    `right` is the measure of the answer alone, `form` and `brief` are the terms beside it, all from 0 to 1.
    """

    score: float
    outcome: Outcome
    prediction: Value | None
    right: float
    form: float
    brief: float


class _Reading(NamedTuple):
    """The answer in a response (None: its reasoning never ended), the value as it stands there, what it counts as."""

    answer: str | None
    written: Value | None
    prediction: Prediction


@dataclass(frozen=True)
class Reward:
    """A task's reward. `reward(task)` makes one; it goes to other processes by its task's name.

    A score is `right` where the weights `format` and `length` are 0, and else the mean of the three with these weights,
    the answer having the rest. `prompt_end` is what a chat template puts behind the turns of a prompt: where that opens
    a reasoning, so does the response begin.
    """

    task: Task
    format: float = 0.0
    length: float = 0.0
    prompt_end: str = ""
    judged_by: Judging | None = None
    allow_egress: tuple[str, ...] = ()
    agreement: str | None = None
    measure: Measure = field(init=False, repr=False, compare=False)
    _recall: Callable[..., Prediction] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_weights(self.format, self.length)
        if self.judged_by is not None:
            judged_tasks([self.task])
            model = _loaded(self.judged_by).model
            if model is not None:
                check_egress(self.task, model, self.allow_egress, self.agreement)
        object.__setattr__(self, "measure", measure_of(self.task))
        object.__setattr__(self, "_recall", lru_cache(REMEMBERED)(self._read))

    def __reduce__(self) -> tuple[Any, ...]:
        settings = (self.format, self.length, self.prompt_end, self.judged_by, self.allow_egress, self.agreement)
        return _again, (self.task.name if _is_known(self.task) else self.task, *settings)

    @property
    def __name__(self) -> str:
        """What a trainer's log calls it."""
        return self.task.name

    def __call__(
        self,
        prompts: Sequence[Text] | None,
        responses: Sequence[Text],
        examples: Sequence[Example],
        *,
        cut: Sequence[bool] | None = None,
    ) -> list[float]:
        """The score of each response; arguments are those of `judge`."""
        return [given.score for given in self.judge(responses, examples, prompts=prompts, cut=cut)]

    def judge(
        self,
        responses: Sequence[Text],
        examples: Sequence[Example],
        *,
        prompts: Sequence[Text] | None = None,
        cut: Sequence[bool] | None = None,
    ) -> list[Rewarded]:
        """Each response's score and outcome, in order; `examples` are the documents that they answer.

        Responses and prompts are texts or turns of a chat. Of a prompt only its end counts, where it opens a reasoning.
        `cut` says which responses a limit on tokens ended: of these only what is stated outright counts.

        Raises
        ------
        ModelError
            When the judge of diagnoses fails.
        UsageError
            When there are not as many of one as of the other, or one of them is of another kind.
        """
        _check_lengths(responses, examples=examples, prompts=prompts, cut=cut)
        _check_examples(examples)
        opened = self._opened(prompts, len(responses))
        ended = [False] * len(responses) if cut is None else cut
        read = [
            self._reading(last_text(response), form, bool(is_cut), example)
            for response, form, is_cut, example in zip(responses, opened, ended, examples, strict=True)
        ]
        targets = [example.target for example in examples]
        right = self._right([found.prediction.value for found in read], targets).tolist()
        return [self._weighed(*each) for each in zip(right, read, examples, strict=True)]

    def _opened(self, prompts: Sequence[Text] | None, count: int) -> Iterable[Format | None]:
        """The reasoning that each prompt has opened."""
        if prompts is None:
            return [opened_by(self.prompt_end)] * count
        return (
            opened_by(prompt + self.prompt_end if isinstance(prompt, str) else self.prompt_end) for prompt in prompts
        )

    def _reading(self, text: str, opened: Format | None, cut: bool, example: Example) -> _Reading:
        at = split(text, opened)
        answer = None if at is None else text[at:]
        if answer is not None and len(answer) <= SHORT and isinstance(self.task.parser, ClosedAnswer | LabelSet):
            found = self._recall(answer, cut, tuple(example.choices))
        else:
            found = self._read(answer, cut, example.choices, example.inputs)
        if answer is None or found.value is None:
            return _Reading(answer, None, found)
        value = admitted(self.task, example, answer, self.task.counts_as(example, found.value))
        return _Reading(answer, found.value, Prediction(value, Outcome.UNPARSED if value is None else found.outcome))

    def _read(
        self, answer: str | None, cut: bool, choices: Sequence[str], inputs: Mapping[str, str] | None = None
    ) -> Prediction:
        finish_reason: FinishReason = "length" if cut else "stop"
        answer = None if answer is None else sound(answer)
        parser = self.task.parser
        found = read(answer, finish_reason, parser, choices=choices, inputs=inputs)
        if answer is None or found.value is None or not isinstance(parser, ClosedAnswer):
            return found
        if parser.plain(answer, choices) is not None:
            return found
        is_open = leaves_open(parser, answer, choices, found.value)
        return Prediction(None, Outcome.UNPARSED) if is_open else found

    def _right(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        if self.judged_by is None or not isinstance(self.measure, ReciprocalRank):
            return self.measure.values(predictions, targets)
        arbiter = _loaded(self.judged_by)
        cases = [Case(tuple(p or ()), accepted_names(t)) for p, t in zip(predictions, targets, strict=True)]
        judgements = _asked(arbiter, self.task, cases)
        return self.measure.of_verdicts([[verdict.match for verdict in each.verdicts] for each in judgements])

    def _weighed(self, right: float, read: _Reading, example: Example) -> Rewarded:
        value, outcome = read.prediction.value, read.prediction.outcome
        score, form, brief = (1 - self.format - self.length) * right, 0.0, 0.0
        # The terms are for answers: an empty response is short, too.
        if value is not None and self.format:
            form = float(in_form(self.task, example, read.answer or "", read.written))
        if value is not None and self.length:
            brief = brevity(read.answer or "", self.task.max_new_tokens)
        return Rewarded(score + self.format * form + self.length * brief, outcome, value, right, form, brief)


def reward(
    task: str | Task,
    *,
    format: float = 0.0,
    length: float = 0.0,
    prompt_end: str = "",
    judge: Judging | None = None,
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
) -> Reward:
    """The reward of a task, by name or as it is: a callable `(prompts, responses, examples)` → scores in [0, 1].

    `format` and `length` are the weights of two terms beside the answer: that the response is the answer as the prompt
    asks for it and nothing else, and that it stays within the task's room; the answer has the rest. `judge` decides
    whether a ranked diagnosis is right, as in `evaluate`, with `allow_egress` and `agreement` for text that may leave
    this machine; spelling decides by default.

    Raises
    ------
    DataUseError
        When credentialed text would go to a remote judge and nothing says that it may.
    UsageError
        For an unknown task, weights that are none, a judge of what is no diagnosis, or a task without a metric of
        single answers.
    """
    return _again(task, format, length, prompt_end, judge, tuple(allow_egress), agreement)


def _again(task: str | Task, *settings: Any) -> Reward:
    """A reward from what a pickle holds of it."""
    return Reward(load_task(task) if isinstance(task, str) else task, *settings)


def _is_known(task: Task) -> bool:
    """Whether this very task is had by its name."""
    try:
        return load_task(task.name) == task
    except UsageError:
        return False


def _loaded(judge: Judging) -> Judge:
    """The judge; one that is named is loaded once a process."""
    return _by_name(judge) if isinstance(judge, str) else load_judge(judge)


@cache
def _by_name(name: str) -> Judge:
    return load_judge(name)


def _asked(arbiter: Judge, task: Task, cases: Sequence[Case]) -> list[Judgement]:
    """The judgements. A case that the judge failed on would be a wrong answer to a trainer: it ends the training."""
    if arbiter.model is None:
        return arbiter.judge(cases)
    found = without_text_in_errors(task, arbiter.model, lambda: arbiter.judge(cases))
    failed = [judgement.error for judgement in found if judgement.error is not None]
    if failed:
        why = "" if is_credentialed(task) else f": {failed[0]}"
        raise ModelError(f"the judge {arbiter.name} failed on {len(failed)} of {len(cases)} cases{why}")
    return found


def _check_weights(format: float, length: float) -> None:
    """Raise `UsageError` where the terms leave nothing for the answer."""
    are_numbers = all(isinstance(weight, int | float) for weight in (format, length))
    if not (are_numbers and 0 <= format <= 1 and 0 <= length <= 1 and format + length < 1):
        raise UsageError(
            f"format {format!r} and length {length!r}: weights are from 0 to 1 and leave something for the answer; "
            "0.1 each is much"
        )


def _check_lengths(responses: Sequence[Text], **others: Sequence[Any] | None) -> None:
    """Raise `UsageError` where there is not one of each for every response."""
    for name, given in others.items():
        if given is not None and len(given) != len(responses):
            raise UsageError(f"{len(responses)} responses and {len(given)} {name}: give one for each response")


def _check_examples(examples: Sequence[Example]) -> None:
    """Raise `UsageError` for what is no document: trainers hand over rows."""
    other = next((example for example in examples if not isinstance(example, Example)), None)
    if other is not None:
        raise UsageError(f"examples are documents (mibe.examples finds them, by their ids), not {type(other).__name__}")

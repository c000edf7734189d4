"""In words: which rule of a parser read what from an output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mibe.parsers.evidence import evidence
from mibe.task import Outcome, Parser, Prediction


def explain(
    answer: str | None,
    prediction: Prediction,
    finish_reason: str,
    parser: Parser,
    *,
    choices: Sequence[str] = (),
    inputs: Mapping[str, str] | None = None,
) -> str:
    """Why `mibe.parsers.outcome.read` made this prediction of an answer.

    A parser with a method `explain` names its rule and the words that it read; of any other it is said from which part
    of the output it reads the same.
    """
    if answer is None:
        return "the reasoning never ended, so there is no answer"
    if prediction.outcome in (Outcome.ERROR, Outcome.REFUSED):
        return "the model gave no output" if prediction.outcome is Outcome.ERROR else "declined or withheld"
    named = getattr(parser, "explain", None)
    if named is not None:
        reading = named(answer, choices=choices, inputs=inputs, cut=finish_reason == "length")
        return f"{reading.rule}: {reading.words}" if reading.words else str(reading.rule)
    if prediction.value is None:
        return "nothing of the form that is asked for"
    place = evidence(answer, prediction.value, parser, choices=choices, inputs=inputs)
    if place is None:
        return "read from the output as a whole"
    words = " ".join(answer[slice(*place)].split())
    return f"read from: {words if len(words) <= 160 else f'{words[:120]} … {words[-30:]}'}"

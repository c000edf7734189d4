"""From a response to a prediction: what was read from it, or why nothing was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mibe.parsers.text import is_refusal
from mibe.task import Outcome, Parser, Prediction


def read(
    answer: str | None,
    finish_reason: str,
    parser: Parser,
    *,
    choices: Sequence[str] = (),
    inputs: Mapping[str, str] | None = None,
) -> Prediction:
    """The prediction of one response, from its answer: None where a reasoning before it never ended.

    An answer that can be read counts even if the output was cut off or sounds like a refusal. `finish_reason` is the
    model's: "error" (no output), "filter" (withheld), "length" (cut off); any other means that it finished. A parser
    may read what was cut off by a method `of_cut`: half an analysis may name another answer than all of it.
    """
    if finish_reason == "error":
        return Prediction(None, Outcome.ERROR)
    if finish_reason == "filter":
        return Prediction(None, Outcome.REFUSED)
    reads = getattr(parser, "of_cut", parser) if finish_reason == "length" else parser
    value = None if answer is None else reads(answer, choices=choices, inputs=inputs)
    if value is not None:
        return Prediction(value, Outcome.PARSED)
    if finish_reason == "length":
        return Prediction(None, Outcome.TRUNCATED)
    return Prediction(None, Outcome.REFUSED if answer is not None and is_refusal(answer) else Outcome.UNPARSED)

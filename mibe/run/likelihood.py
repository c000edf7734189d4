"""Answers by likelihood: what a model is asked, which answer is the likeliest, how probable it was
(`docs/likelihood.md`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mibe.metrics.arrays import FloatArray, np
from mibe.models.base import NO_NUMBERS, Response
from mibe.results.log import Row
from mibe.run.reading import ANSWERED, judged
from mibe.run.settings import BY_TEXT_PER_BYTE
from mibe.task import Example, Outcome, Prediction, Task, letter


def continuations(task: Task, example: Example, *, option_texts: bool) -> tuple[str, ...]:
    """What a model is asked the likelihood of: the answers, labels or letters, then the texts of the options."""
    return (*task.answers(example), *(example.choices if option_texts else ()))


def answer_by_likelihood(values: Sequence[float], seconds: float) -> dict[str, Any]:
    """What becomes of a document's likelihoods: an error where one of them is no number."""
    if not all(map(math.isfinite, values)):
        error = f"log-likelihoods are {NO_NUMBERS}"
        return {"response": Response(text="", finish_reason="error", error=error, seconds=seconds)}
    return {"response": Response(text="", finish_reason="stop", seconds=seconds), "loglikelihoods": list(values)}


def judge_likelihoods(task: Task, example: Example, values: Sequence[float]) -> Row:
    """The fields of a sample's row that follow from the log-likelihoods of its `continuations`, in their order.

    The answer is the likeliest label or letter as a whole: the sum over its tokens, as lm-eval's `acc` has it. An older
    log may hold what is no number: an error, and no answer.
    """
    if not all(map(math.isfinite, values)):
        return judged(task, example, Prediction(None, Outcome.ERROR))
    answers = task.answers(example)
    own, texts = np.array(values[: len(answers)]), np.array(values[len(answers) :])
    chosen = int(own.argmax())
    row = judged(task, example, Prediction(answers[chosen], Outcome.PARSED))
    is_right = row["prediction"] == example.target
    probabilities = softmax(own)
    gold = chosen if is_right else answers.index(example.target)
    row["scores"] |= {
        "accuracy": float(is_right),
        "confidence": float(probabilities[chosen]),
        # The squares of p − 1 for the gold answer and of p for the others.
        "brier": float((probabilities**2).sum() - 2 * probabilities[gold] + 1),
    }
    row["loglikelihoods"] = own.tolist()
    if len(texts):
        row["scores"] |= _by_text(task, example, texts)
        row["option_loglikelihoods"] = texts.tolist()
    return row


def judge_likelihoods_again(task: Task, example: Example, row: Row, rule: str) -> Row:
    """The same from a row of an earlier run, whose record names the `rule`.

    Where the texts of options decided, the letters were never asked for: what was answered stays.
    """
    if rule == BY_TEXT_PER_BYTE and example.choices:
        return judged(task, example, Prediction(row.get(ANSWERED, row["prediction"]), Outcome.PARSED))
    return judge_likelihoods(task, example, [*row["loglikelihoods"], *row.get("option_loglikelihoods", ())])


def softmax(values: FloatArray) -> FloatArray:
    """Log-likelihoods as probabilities that sum to 1, shape (answers,)."""
    weights = np.exp(values - values.max())
    probabilities: FloatArray = weights / weights.sum()
    return probabilities


def _by_text(task: Task, example: Example, values: FloatArray) -> dict[str, float]:
    """Whether the option is right whose text is the likeliest: as a whole, and per character, as lm-eval has them."""
    lengths = np.array([max(1, len(text)) for text in example.choices])
    return {
        name: float(task.counts_as(example, letter(int(scores.argmax()))) == example.target)
        for name, scores in (("acc", values), ("acc_norm", values / lengths))
    }

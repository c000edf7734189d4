"""The three tests of one task's questions (`docs/memorisation.md`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mibe.errors import NoLikelihoods
from mibe.memorisation.asking import Asking
from mibe.memorisation.orders import orders_of
from mibe.memorisation.twins import Twins, twins_of
from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.memorisation import Tested, ngram_recall, of_groups, of_orders, of_pairs, sharded_p
from mibe.metrics.summarization import rouge
from mibe.models.base import ReadsTokens
from mibe.task import Example, shown_fields

TOKENS, ORDER, ROUGE_L, NGRAMS = "min_k_plus_plus", "option_order", "completion_rougeL", "completion_ngrams"
"""Names of the tests; a completion is compared in two ways."""

LEAST = 10
"""Comparisons that a test needs: ten pairs that all say the same have p 0.001."""

WORDS = 60
"""Words of a second half that a completion is compared with."""

FEWEST_WORDS = 10
"""Words that a second half must have."""

COMPLETED: Mapping[str, Callable[[str, str], float]] = {
    ROUGE_L: lambda output, true: rouge(output, true)[2],
    NGRAMS: ngram_recall,
}
"""Test → how well an output is what follows in the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one test says of one task.

    `against` is what the questions were compared with: their "twins", "reference" questions, or other "orders" of
    options. `comparisons` are pairs of twins, or questions; `score` is the mean score of the questions and `other` that
    of what they were compared with; `p_sharded`, of orders, is that of the published test beside ours.
    """

    against: str
    comparisons: int
    tested: Tested
    score: float | None = None
    other: float | None = None
    p_sharded: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """The examples of a task and the text of each one's question; `reference` are questions that no model under test
    can have seen, None where there are none."""

    examples: Sequence[Example]
    texts: Sequence[str]
    reference: Sequence[str] | None
    seed: int


def run_tests(asking: Asking, questions: Questions) -> dict[str, Finding | str]:
    """Test → what it says, or why it was left out. Raises `ModelError` where the model fails."""
    return {
        TOKENS: by_tokens(asking, questions),
        ORDER: by_order(asking, questions),
        **by_completion(asking, questions),
    }


def comparisons(questions: Questions) -> dict[str, int]:
    """Test → how many comparisons the questions have for it, whatever the model."""
    texts, halves = questions.texts, _long(questions.texts)
    if questions.reference is not None:
        tokens = min(len(texts), len(questions.reference))
        completion = min(len(halves), len(_long(questions.reference)))
    else:
        tokens = len(twins_of(texts, seed=questions.seed))
        windows = [half.window for half in halves]
        completion = len(twins_of([half.text for half in halves], windows, seed=questions.seed))
    orders = sum(bool(orders_of(example, seed=questions.seed)) for example in questions.examples)
    return {TOKENS: tokens, ORDER: orders, **dict.fromkeys(COMPLETED, completion)}


def by_tokens(asking: Asking, questions: Questions) -> Finding | str:
    """Min-K%++ of the questions, against reference questions or twins; or why that cannot be."""
    texts, reference = questions.texts, questions.reference
    if not isinstance(asking.model, ReadsTokens):
        return f"{asking.model.name} does not give the probabilities of all tokens"
    if reference is not None:
        if few := _too_few(min(len(texts), len(reference)), "questions"):
            return few
        scores = np.array(asking.scores([*texts, *reference]))
        return _of_groups(scores[: len(texts)], scores[len(texts) :])
    pairs = twins_of(texts, seed=questions.seed)
    if few := _too_few(len(pairs), "pairs of questions that can exchange details"):
        return few
    versions = [text for pair in pairs for text in (*_given(pair, texts), *pair.texts)]
    return _of_pairs(np.array(asking.scores(versions)).reshape(-1, 2, 2))


def by_order(asking: Asking, questions: Questions) -> Finding | str:
    """Likelihood of the options as given against other orders, after the question; or why that cannot be."""
    asked = []
    for example, text in zip(questions.examples, questions.texts, strict=True):
        orders = [replace(example, choices=order) for order in orders_of(example, seed=questions.seed)]
        if orders:
            asked.append((f"{text}\n", tuple(shown_fields(each)["options"] for each in orders)))
    if few := _too_few(len(asked), "questions whose options could stand in another order"):
        return few
    try:
        values = asking.likelihoods(asked)
    except NoLikelihoods as error:
        # What stands behind it advises whoever scores answers.
        return error.own_words.partition(";")[0]
    tested = of_orders(values, seed=questions.seed)
    return Finding(against="orders", comparisons=len(values), tested=tested, p_sharded=sharded_p(values))


def by_completion(asking: Asking, questions: Questions) -> dict[str, Finding | str]:
    """How the model goes on after the first half, against reference questions or twins; or why that cannot be."""
    halves = _long(questions.texts)
    if questions.reference is not None:
        others = _long(questions.reference)
        if few := _too_few(min(len(halves), len(others)), f"questions with a second half of {FEWEST_WORDS} words"):
            return dict.fromkeys(COMPLETED, few)
        both = [*halves, *others]
        outputs = asking.completions([half.beginning for half in both])
        return {
            name: _of_groups(scores[: len(halves)], scores[len(halves) :])
            for name, how in COMPLETED.items()
            for scores in [np.array([half.scored(how, said) for half, said in zip(both, outputs, strict=True)])]
        }
    texts = [half.text for half in halves]
    # Details of the second half alone are exchanged, so that a question and its twin have one beginning.
    pairs = twins_of(texts, [half.window for half in halves], seed=questions.seed)
    if few := _too_few(len(pairs), "pairs of questions that can exchange details in their second half"):
        return dict.fromkeys(COMPLETED, few)
    given = [_Half(text) for pair in pairs for text in _given(pair, texts)]
    twins = [_Half(text) for pair in pairs for text in pair.texts]
    outputs = asking.completions([half.beginning for half in given])

    def scores(how: Callable[[str, str], float]) -> FloatArray:
        versions = [
            [half.scored(how, said) for half, said in zip(some, outputs, strict=True)] for some in (given, twins)
        ]
        return np.array(versions).reshape(2, -1, 2).swapaxes(0, 1)

    return {name: _of_pairs(scores(how)) for name, how in COMPLETED.items()}


def _given(pair: Twins, texts: Sequence[str]) -> tuple[str, str]:
    """Both questions of a pair as they are."""
    one, other = pair.places
    return texts[one], texts[other]


def _of_pairs(scores: FloatArray) -> Finding:
    """The test of scores of shape (pairs, given or with exchanged details, both questions)."""
    given, exchanged = scores.sum(axis=2).T
    return Finding(
        against="twins",
        comparisons=len(scores),
        tested=of_pairs(given - exchanged),
        score=float(scores[:, 0].mean()),
        other=float(scores[:, 1].mean()),
    )


def _of_groups(real: FloatArray, reference: FloatArray) -> Finding:
    return Finding(
        against="reference",
        comparisons=len(real),
        tested=of_groups(real, reference),
        score=float(real.mean()),
        other=float(reference.mean()),
    )


class TooFew(str):
    """Why a test was left out that needs more comparisons."""


def _too_few(count: int, what: str) -> TooFew | None:
    """That, or None where there is enough."""
    return None if count >= LEAST else TooFew(f"too few: {count} {what}, and it needs {LEAST}")


class _Half:
    """A question's second half, by words and of them the first `WORDS`, and all that stands before it.

    `window` are its characters in the text.
    """

    def __init__(self, text: str) -> None:
        words = list(re.finditer(r"\S+", text))
        second = words[len(words) // 2 :][:WORDS]
        self.text = text
        self.window = (second[0].start(), second[-1].end()) if second else (0, 0)
        self.beginning = text[: self.window[0]].rstrip()
        self.words = [word[0] for word in second]

    def scored(self, how: Callable[[str, str], float], output: str) -> float:
        """How well an output, cut to as many words, is this half."""
        return how(" ".join(output.split()[: len(self.words)]), " ".join(self.words))


def _long(texts: Sequence[str]) -> list[_Half]:
    """The second halves that have words enough."""
    return [half for half in map(_Half, texts) if len(half.words) >= FEWEST_WORDS]

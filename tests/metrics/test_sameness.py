"""How often one and the same answer was given, whatever an answer is."""

from collections import Counter

import pytest

from mibe.metrics.sameness import answer_counts


@pytest.mark.parametrize(
    "answers",
    [
        ["yes", "no", "yes", None, "maybe", "yes"],
        [None, None],
        [],
        ["A"] * 20,
        [["a", "b"], ["b", "a"], ["a", "b"], None],
        [{"text": "x", "label": "y"}, {"label": "y", "text": "x"}],
        ["\ud800", "\ud800", ""],
    ],
)
def test_answers_are_counted_as_a_counter_counts_them(answers):
    counts = Counter(
        str(sorted(each.items()) if isinstance(each, dict) else each) for each in answers if each is not None
    )
    assert answer_counts(answers) == {
        "read": sum(counts.values()),
        "distinct": len(counts),
        "commonest": max(counts.values(), default=0),
    }


def test_what_draws_of_a_document_say_alike_counts_once():
    documents = [0] * 10 + [1] * 3 + [256]
    answers = ["yes"] * 10 + ["yes", "no", None] + ["yes"]
    assert answer_counts(answers, documents) == {"read": 4, "distinct": 2, "commonest": 3}
    assert answer_counts(["yes"] * 10, [7] * 10) == {"read": 1, "distinct": 1, "commonest": 1}

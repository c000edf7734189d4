"""SQuAD's measures, ROUGE against rouge-score, and top-k accuracy."""

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mibe.metrics.diagnosis import TopKAccuracy, first_match
from mibe.metrics.qa import ExactMatch, SaidF1, SaidMatch, TokenF1, exact_match, normalise, said, token_f1
from mibe.metrics.score import score
from mibe.metrics.summarization import Rouge, lcs_length, rouge

VOCABULARY = (
    "the",
    "a",
    "an",
    "An",
    "lisinopril",
    "Lisinopril,",
    "10",
    "mg",
    "daily.",
    "heart-failure",
    "é",
    "-",
    "\n",
)
texts = st.lists(st.sampled_from(VOCABULARY), max_size=12).map(" ".join)


def published_words(text):
    """The normalisation in the steps of the SQuAD paper: lower case, no punctuation, no articles."""
    kept = "".join(c for c in text.lower() if c not in set(string.punctuation))
    words, word = [], ""
    for c in [*kept, " "]:
        if c.isspace():
            words.append(word)
            word = ""
        else:
            word += c
    return [w for w in words if w and w not in ("a", "an", "the")]


def published_f1(prediction, reference):
    """Word by word: each word of the prediction uses up one equal word of the reference."""
    predicted, left = published_words(prediction), published_words(reference)
    size, common = len(left), 0
    for word in predicted:
        if word in left:
            left.remove(word)
            common += 1
    if not common:
        return 0
    precision, recall = common / len(predicted), common / size
    return 2 * precision * recall / (precision + recall)


@given(texts, texts)
def test_squad_measures_follow_the_published_definition(prediction, reference):
    assert normalise(prediction).split() == published_words(prediction)
    assert exact_match(prediction, reference) == (published_words(prediction) == published_words(reference))
    assert token_f1(prediction, reference) == pytest.approx(published_f1(prediction, reference), abs=1e-12)


@pytest.mark.parametrize(
    ("prediction", "reference", "exact", "f1"),
    [
        ("The lisinopril.", "lisinopril", 1, 1),
        ("lisinopril 10 mg", "Lisinopril", 0, 0.5),
        ("daily daily", "daily", 0, 2 / 3),
        ("heart-failure", "heart failure", 0, 0),
        ("", "daily", 0, 0),
    ],
)
def test_squad_measures_on_examples(prediction, reference, exact, f1):
    assert exact_match(prediction, reference) == exact
    assert token_f1(prediction, reference) == pytest.approx(f1)


def test_the_best_reference_counts_and_no_answer_scores_0():
    predictions, targets = ["aspirin daily", None, "aspirin"], [["warfarin", "aspirin"], "aspirin", "aspirin"]
    figures = score([ExactMatch(), TokenF1()], predictions, targets, resamples=10)
    assert figures["exact_match"].value == pytest.approx(1 / 3)
    assert figures["f1"].value == pytest.approx((2 / 3 + 0 + 1) / 3)


@pytest.mark.parametrize(
    "same",
    [
        ("1.5 mg", "1.5mg", "The 1.5 mg.", " 1.5 MG"),
        ("1,000 units", "1000 units"),
        ("5 %", "5%", "(5%)"),
        ("\u22121", "-1"),
        ("HER2+", "her2+", "HER2+."),
        ("< 5", "<5"),
        ("120/80", "120/80 ."),
        ("beta-blocker", "beta blocker"),
        ("5-10 days", "5-10 days."),
        ("A", "a", "(A)"),
    ],
)
def test_answers_that_say_the_same(same):
    assert len(set(map(said, same))) == 1, list(map(said, same))


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.5 mg", "15 mg"), ("0.5", "05"), ("-1", "+1"), ("-1", "1"), ("<5", ">5"), ("<5", "5"), ("HER2+", "HER2-"),
     ("120/80", "12080"), ("5%", "5"), ("1:10", "110"), ("+", "-"), ("10.0", "100"), ("1,5", "15")],
)  # fmt: skip
def test_numbers_keep_their_points_and_signs(one, other):
    assert said(one) != said(other)
    assert SaidMatch().values([one], [other]).tolist() == [[0]]
    assert SaidF1().values([one, one], [other, one]).tolist() == [[0 if "mg" not in one else 0.5], [1]]


def rouge_score_of(prediction, target):
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    names = Rouge().names
    scores = scorer.RougeScorer(list(names), use_stemmer=False).score(target, prediction)
    return tuple(scores[name].fmeasure for name in names)


# Few distinct words, so that subsequences tie and the way back through the table matters.
few_words = st.lists(st.sampled_from(("a", "b", "c", "d", "\n", "E.", "—")), max_size=40).map(" ".join)


@settings(max_examples=400, deadline=None)
@given(few_words, few_words)
def test_rouge_equals_rouge_score_where_words_repeat(prediction, target):
    assert rouge(prediction, target) == pytest.approx(rouge_score_of(prediction, target), abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_rouge_equals_rouge_score_on_any_text(prediction, target):
    assert rouge(prediction, target) == pytest.approx(rouge_score_of(prediction, target), abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_rouge_equals_rouge_score_on_texts_of_many_sentences(seed):
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(rng.choice((5, 30, 200)))]

    def text():
        lines = [" ".join(rng.choices(words, k=rng.randint(0, 90))) for _ in range(rng.randint(1, 9))]
        return rng.choice((".\n", "\r\n", " ")).join(lines)

    for _ in range(5):
        prediction, target = text(), text()
        assert rouge(prediction, target) == pytest.approx(rouge_score_of(prediction, target), abs=1e-9)


def test_rouge_of_no_answer_and_of_an_equal_one():
    figures = score([Rouge()], [None, "No acute\nprocess."], ["No acute process.", "no acute\nprocess"], resamples=10)
    assert [figure.value for figure in figures.values()] == [0.5] * 4
    assert rouge("", "") == (0, 0, 0, 0)
    assert rouge("word", "word") == (1, 0, 1, 1)


@given(st.text("abc", max_size=15), st.text("abc", max_size=15))
def test_lcs_length_equals_the_textbook_recurrence(a, b):
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if x == y else max(row[j], row[j - 1])
    assert lcs_length(list(a), list(b)) == row[-1]


def test_top_k_counts_every_case():
    verdicts = [[True], [False, True], [False] * 5 + [True], None, [], [None, None, True, True]]
    figures = score([TopKAccuracy()], verdicts, verdicts, resamples=10)
    assert list(figures) == [f"top{k}_accuracy" for k in range(1, 6)]
    assert [figure.value * 6 for figure in figures.values()] == pytest.approx([1, 2, 3, 3, 3])
    assert {figure.n for figure in figures.values()} == {6}
    assert first_match([False, None]) == float("inf")

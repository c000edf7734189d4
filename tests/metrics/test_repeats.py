"""Several draws a document: the clustered interval, error and tests, and what draws tell, against independent sums."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2

from mibe.errors import UsageError
from mibe.metrics.base import Observed
from mibe.metrics.classification import Accuracy, MacroF1
from mibe.metrics.comparison import random_halves
from mibe.metrics.intervals import bootstrap, cluster_numbers, cluster_totals, standard_errors
from mibe.metrics.repeats import (
    as_answer,
    as_written,
    chi_square_quantile,
    figures_by_draw,
    is_changing,
    majority,
    pass_at_k,
    pass_sizes,
    same_answer,
    spread,
    widest,
)
from mibe.metrics.score import score
from mibe.registry import load_task

LABELS = ("A", "B", "C")


def mean(totals):
    return totals[..., :1] / totals[..., 1:]


# --- clusters -------------------------------------------------------------------------------------------------------


def test_totals_are_those_of_each_cluster_wherever_its_rows_stand():
    table = np.arange(12, dtype=float).reshape(6, 2)
    totals = cluster_totals(table, np.array([2, 0, 2, 1, 0, 2]))
    assert totals.tolist() == [[10, 12], [6, 7], [14, 17]]
    assert cluster_numbers(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]
    with pytest.raises(UsageError, match="2 cluster numbers for 6 samples"):
        cluster_totals(table, np.array([0, 1]))


def test_totals_of_a_small_type_do_not_overflow():
    documents = np.repeat([0, 1], 200)
    table = np.stack([documents, 1 - documents, np.ones(400)], axis=1).astype(np.int8)
    assert cluster_totals(table, documents).tolist() == [[0, 200, 200], [200, 0, 200]]
    assert standard_errors(table[:, :1], documents)[0] == pytest.approx(np.std([0, 1], ddof=1) / np.sqrt(2))
    low, high, _ = bootstrap(table, lambda totals: totals[..., :1] / totals[..., 2:], clusters=documents)
    assert low[0] < 0.01 and high[0] > 0.99


def test_a_bootstrap_of_clusters_is_that_of_whole_documents_by_hand():
    rng = np.random.default_rng(3)
    values = (rng.random((40, 5)) < rng.beta(0.5, 0.5, (40, 1))).astype(float)
    documents = np.repeat(np.arange(40), 5)
    table = np.stack([values.ravel(), np.ones(200)], axis=1)
    low, high, stderr = bootstrap(table, mean, clusters=documents, resamples=4000)
    by_hand = values[rng.integers(40, size=(4000, 40))].mean(axis=(1, 2))
    assert [low[0], high[0]] == pytest.approx(np.quantile(by_hand, [0.025, 0.975]), abs=0.01)
    assert stderr[0] == pytest.approx(by_hand.std(), rel=0.06)
    narrow = bootstrap(table, mean, resamples=4000)
    assert high[0] - low[0] > 1.5 * (narrow.high[0] - narrow.low[0])


def test_the_robust_standard_error_is_that_of_the_documents_means():
    values = np.random.default_rng(0).random((30, 4))
    robust = standard_errors(values.reshape(-1, 1), np.repeat(np.arange(30), 4))
    assert robust[0] == pytest.approx(values.mean(axis=1).std(ddof=1) / np.sqrt(30), rel=1e-12)


def test_the_robust_standard_error_of_unequal_clusters_is_the_formula_of_its_definition():
    clusters = np.array([0, 0, 0, 1, 2, 2])
    values = np.array([1.0, 0, 1, 0, 1, 1])
    sums = [sum(v - values.mean() for v in values[clusters == c]) for c in range(3)]
    expected = np.sqrt(3 / 2 * sum(s * s for s in sums)) / 6
    assert standard_errors(values.reshape(-1, 1), clusters)[0] == pytest.approx(expected, rel=1e-12)
    assert np.isnan(standard_errors(values.reshape(-1, 1), np.zeros(6, dtype=int)))[0]


@given(st.lists(st.tuples(st.sampled_from([*LABELS, None]), st.sampled_from(LABELS)), min_size=2, max_size=30))
def test_clusters_of_one_sample_change_no_figure(pairs):
    predictions, targets = zip(*pairs, strict=True)
    metrics = (Accuracy(), MacroF1(LABELS))
    alone = score(metrics, predictions, targets, resamples=20)
    clustered = score(metrics, predictions, targets, clusters=np.arange(len(pairs)), resamples=20)
    for name, figure in alone.items():
        own = clustered[name]
        assert (own.value, own.low, own.high, own.n) == (figure.value, figure.low, figure.high, figure.n)
        assert own.stderr == pytest.approx(figure.stderr, rel=1e-12)


def test_one_document_drawn_often_has_no_standard_error():
    figure = score([Accuracy()], ["A", "B", "A"], ["A"] * 3, clusters=np.zeros(3, dtype=int))["accuracy"]
    assert (figure.value, figure.stderr, figure.n) == (pytest.approx(2 / 3), None, 3)


# --- two runs -------------------------------------------------------------------------------------------------------


def test_a_difference_of_clusters_is_that_of_their_sums():
    rng = np.random.default_rng(4)
    clusters = np.repeat(np.arange(50), 3)
    a, b = (np.stack([rng.integers(0, 2, 150).astype(float), np.ones(150)], axis=1) for _ in range(2))
    clustered = random_halves(a, b, mean, clusters=clusters)
    summed = random_halves(cluster_totals(a, clusters), cluster_totals(b, clusters), mean)
    np.testing.assert_array_equal(clustered, summed)


# --- draws ----------------------------------------------------------------------------------------------------------


def of_human_eval(n, c, k):
    """The estimator as openai/human-eval publishes it (evaluation.py, MIT)."""
    if n - c < k:
        return 1.0
    return 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_human_evals(case):
    assert pass_at_k(*case) == pytest.approx(of_human_eval(*case), abs=1e-12)


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_pass_at_k_is_the_share_of_the_choices_that_hold_a_right_draw(draws, data):
    k = data.draw(st.integers(1, len(draws)))
    choices = list(combinations(draws, k))
    assert pass_at_k(len(draws), sum(draws), k) == pytest.approx(sum(map(any, choices)) / len(choices))


def test_the_k_are_powers_of_two_and_all():
    assert [pass_sizes(n) for n in (2, 3, 5, 8)] == [[1, 2], [1, 2, 3], [1, 2, 4, 5], [1, 2, 4, 8]]


@pytest.mark.parametrize(
    ("answers", "voted"),
    [
        (["A", "B", "B"], "B"),
        (["B", "A", "A", "B"], "B"),
        (["C", "A", "A", "B", "B"], "A"),
        ([None, None, "C"], "C"),
        ([None, "B", None, "A"], "B"),
        ([None, None], None),
        ([["x", "y"], ["y"], ["y", "x"]], ["x", "y"]),
        ([[], [], ["x"]], []),
        (["5 mg", "The 5 mg.", "ten"], "5 mg"),
    ],
)
def test_the_majority_is_of_those_that_were_read_and_ties_go_to_the_first_drawn(answers, voted):
    assert majority(answers, as_answer) == voted


@given(st.lists(st.sampled_from([*LABELS, None]), min_size=1, max_size=9), st.randoms())
def test_the_order_of_draws_decides_ties_alone(answers, random):
    shuffled = random.sample(answers, len(answers))
    tally = Counter(answer for answer in answers if answer is not None)
    leaders = {label for label, votes in tally.items() if votes == max(tally.values())}
    assert majority(shuffled, as_answer) in (leaders or {None})
    assert is_changing(shuffled, as_answer) == is_changing(answers, as_answer) == (len(set(answers)) > 1)


def test_answers_are_one_where_they_say_the_same():
    assert {as_answer(text) for text in ("A", "a", "A.", "(A)", " A")} == {as_answer("A")}
    assert {as_answer(text) for text in ("B", "b", "B.", "(B)", " B")} == {as_answer("B")}
    assert as_answer("A") != as_answer("AN") and as_answer("The A!") != as_answer("a b")
    assert as_answer(["x", "y"]) == as_answer(["y", "x"]) and as_written(["x", "y"]) != as_written(["y", "x"])
    assert as_answer([["drug", 0, 3]]) != as_answer([["drug", 0, 4]])


def test_labels_are_one_where_they_are_written_alike():
    labelled = replace(load_task("mednli"), labels=("T1", "T-1", "the A", "A"))
    assert len(set(map(same_answer(labelled), labelled.labels))) == 4
    sets = same_answer(load_task("hoc"))
    assert sets(["x", "y"]) == sets(["y", "x"]) != sets(["x"])
    ranked = same_answer(load_task("nejm_cpc"))
    assert ranked(["x", "y"]) != ranked(["y", "x"])
    text = same_answer(load_task("emrqa"))
    assert text("Aspirin.") == text("the aspirin") and text("1.5 mg") != text("15 mg")


@given(st.integers(1, 200), st.floats(0.001, 0.999))
def test_the_quantile_of_chi_square_is_scipys(freedom, p):
    assert chi_square_quantile(p, freedom) == pytest.approx(chi2.ppf(p, freedom), rel=1e-7)


def test_the_spread_is_the_deviation_with_its_textbook_interval():
    by_draw = np.array([[0.61, 0.2], [0.58, 0.2], [0.66, 0.2], [0.60, 0.2]])
    found = spread(by_draw, 50)
    s = np.std([0.61, 0.58, 0.66, 0.60], ddof=1)
    assert found.value == pytest.approx([s, 0], abs=1e-12)
    bounds = [s * np.sqrt(3 / chi2.ppf(p, 3)) for p in (0.975, 0.025)]
    assert [found.low[0], found.high[0]] == pytest.approx(bounds, rel=1e-9)
    assert found.stderr[0] == pytest.approx(s / np.sqrt(6))


def test_no_bound_is_above_what_figures_from_0_to_1_can_vary_at_most():
    for count in (2, 3, 5):
        halves = np.array([0.0] * (count // 2) + [1.0] * (count - count // 2))[:, None]
        found = spread(halves, 10)
        assert found.value[0] == pytest.approx(found.high[0]) == pytest.approx(widest(halves)[0])
    two = spread(np.array([[0.2, -3.0], [0.9, -4.0]]), 10)
    assert two.high[0] == pytest.approx(np.sqrt(0.5)) and two.high[1] > 10


@pytest.mark.parametrize(("right", "documents"), [(20, 20), (0, 20), (10, 20), (18, 40)])
def test_draws_that_tie_may_yet_differ_as_a_proportion_of_as_many_does(right, documents):
    found = spread(np.full((2, 1), right / documents), documents)
    interval = binomtest(right, documents).proportion_ci(method="wilson")
    grid = np.linspace(interval.low, interval.high, 10_001)
    assert (found.value[0], found.low[0]) == (0, 0)
    assert found.high[0] == pytest.approx(np.sqrt((grid * (1 - grid)).max() / documents), rel=1e-6)
    # Nothing bounds a figure that is no proportion.
    assert spread(np.full((2, 1), -3.0), documents).high[0] == 0


def test_figures_of_each_draw_are_those_of_its_rows():
    table = Observed("x").statistics([1, 0, 1, 1, 0, 0], ())
    numbers = np.array([0, 1, 2, 0, 1, 2])
    assert figures_by_draw(Observed("x").figures, table, numbers).tolist() == [[1.0], [0.0], [0.5]]


def test_coverage_of_the_clustered_interval():
    rng = np.random.default_rng(8)
    documents = np.repeat(np.arange(80), 6)
    covered = {"clustered": 0, "not": 0}
    for trial in range(200):
        values = (rng.random((80, 6)) < rng.beta(0.9, 0.6, (80, 1))).astype(float)
        table = np.stack([values.ravel(), np.ones(480)], axis=1)
        for way, clusters in (("clustered", documents), ("not", None)):
            low, high, _ = bootstrap(table, mean, clusters=clusters, resamples=200, seed=trial)
            covered[way] += bool(low[0] <= 0.6 <= high[0])
    assert 178 <= covered["clustered"] <= 198 and covered["not"] < 160

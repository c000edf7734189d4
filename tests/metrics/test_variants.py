"""Spread over versions, flips, pairs and letters, against plain counts, closed forms and simulations."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chi2, f, ncf, ncx2

from mibe.metrics.classification import Accuracy
from mibe.metrics.fairness import Counting, Told, fairness
from mibe.metrics.variants import covariance_of, divergence, flips, letter_p, noncentrality, spread_over_versions


def cyclic_places(documents, size):
    """Where each option stands in each cyclic order: (documents, orders, options)."""
    return np.tile([[(option - turn) % size for option in range(size)] for turn in range(size)], (documents, 1, 1))


def biased(rng, documents, size, share):
    """The options that a model chooses in each cyclic order: what stands at A that often, else what it likes."""
    liked = rng.integers(size, size=(documents, 1))
    at_a = np.arange(size)[np.newaxis, :]
    return np.where(rng.random((documents, size)) < share, at_a, np.broadcast_to(liked, (documents, size)))


def test_pairs_and_flips_are_counted():
    assert flips(["a", "a", "b", None]) == 2 / 3
    answers = ["a", "b", "a", "c"]
    assert divergence(answers) == sum(x != y for x, y in combinations(answers, 2)) / 6 == 5 / 6
    assert divergence(["a", "a"]) == 0 and flips([None, None]) == 0


def test_the_noncentrality_is_that_of_scipy():
    for value, freedom in ((8.0, 3), (20.0, 4), (0.5, 1)):
        for p in (0.025, 0.5, 0.975):
            found = noncentrality(value, freedom, 30, p)
            if f.cdf(value, freedom, 30) <= p:
                assert found == 0
            else:
                assert ncf.cdf(value, freedom, 30, found) == pytest.approx(p, abs=1e-5)


def test_the_spread_of_independent_versions_is_cochrans():
    # By hand: covariance v on the diagonal, so (K - 1) s² / v is chi-square with K - 1 degrees of freedom.
    figures, v = np.array([0.5, 0.6, 0.55, 0.45]), 0.002
    many = 10**6
    found = spread_over_versions(figures, np.eye(4) * v, many)
    s = figures.std(ddof=1)
    squares = 3 * s**2 / v
    assert found.value == pytest.approx(s) and found.p == pytest.approx(chi2.sf(squares, 3), rel=1e-4)
    assert ncx2.cdf(squares, 3, 3 * found.high**2 / v) == pytest.approx(0.025, abs=1e-4)
    # What all versions share does not count.
    shared = spread_over_versions(figures, np.eye(4) * v + 0.01, many)
    assert (shared.p, shared.high) == pytest.approx((found.p, found.high))


def test_the_bound_of_one_document_is_no_more_than_figures_can_vary():
    found = spread_over_versions(np.array([0.0, 1.0, 0.0, 1.0, 1.0]), np.zeros((5, 5)), 1)
    assert found.high == pytest.approx(found.value) == pytest.approx(np.std([0, 1, 0, 1, 1], ddof=1))


def test_few_documents_that_agree_are_no_certainty():
    alike = spread_over_versions(np.full(3, 0.5), np.zeros((3, 3)), 40)
    assert (alike.value, alike.low, alike.p) == (0, 0, 1)
    # Versions that happen to tie do not say that they are alike: noise of 0.02 hides a spread of that size.
    tied = spread_over_versions(np.full(4, 0.5), np.eye(4) * 0.02**2, 200)
    assert 0.02 < tied.high < 0.05 and tied.low == 0
    # Three documents, all right in one version and wrong in the other: so says a coin in one of four cases.
    three = spread_over_versions(np.array([1.0, 0.0]), np.zeros((2, 2)), 3)
    assert 0.1 < three.p < 0.4 and three.low == 0
    assert spread_over_versions(np.array([1.0, 0.0]), np.zeros((2, 2)), 40).p < 1e-6


def test_the_covariance_is_that_of_means():
    rng = np.random.default_rng(0)
    right = (rng.random((400, 3)) < 0.6).astype(float)
    metric = Accuracy()
    tables = [metric.table(right[:, [k]]) for k in range(3)]
    found = covariance_of(tables, metric.figures, clusters=None, resamples=4000, seed=1)[0]
    assert found == pytest.approx(np.cov(right.T) / 400, abs=6e-5)


@pytest.mark.parametrize("sigma", [0.0, 0.03, 0.08])
def test_the_interval_of_the_spread_holds_the_truth(sigma):
    """200 samples of 300 documents, whose versions are right with probabilities that spread by sigma."""
    rng = np.random.default_rng(7)
    offsets = np.array([-1, 0, 0, 1.0])
    offsets *= sigma / offsets.std(ddof=1)
    inside = significant = 0
    for _ in range(200):
        ease = rng.uniform(0.2, 0.8, (300, 1))
        right = (rng.random((300, 4)) < ease + offsets).astype(float)
        # The covariance of means needs no bootstrap.
        found = spread_over_versions(right.mean(axis=0), np.cov(right.T) / 300, 300)
        inside += found.low <= sigma <= found.high
        significant += found.p < 0.05
    assert inside >= 180
    # At no spread p is below 0.05 in one sample of twenty, at a wide one in nearly all.
    assert {0.0: significant <= 20, 0.03: significant > 20, 0.08: significant > 180}[sigma]


def test_a_planted_leaning_to_a_is_found_and_none_where_there_is_none():
    rng = np.random.default_rng(5)
    places = cyclic_places(200, 4)
    found = letter_p(biased(rng, 200, 4, 0.15), places, resamples=1000, seed=1)
    assert found == pytest.approx(1 / 1001)
    flagged = 0
    for seed in range(40):
        # What it likes in most orders, anything in the others: unstable, but whatever the letter.
        steady = biased(rng, 200, 4, 0.0)
        anything = np.where(rng.random((200, 4)) < 0.5, rng.integers(4, size=(200, 4)), steady)
        flagged += letter_p(anything, places, resamples=200, seed=seed) < 0.05
    assert flagged <= 6
    assert letter_p(biased(rng, 200, 4, 0.0), places, resamples=100, seed=1) == 1
    unread = np.full((20, 4), -1)
    assert letter_p(unread, cyclic_places(20, 4), resamples=100, seed=1) == 1


def told(*pairs):
    """Documents of (answer a, right a, answer b, right b)."""
    return {f"d{n}": {"a": Told(pa, ra), "b": Told(pb, rb)} for n, (pa, ra, pb, rb) in enumerate(pairs)}


def test_divergence_gaps_and_baseline_are_counted_by_hand():
    sex = told(("A", True, "A", True), ("A", True, "B", False), ("C", False, "B", False), ("A", True, "B", False))
    city = told(("A", True, "A", True), ("A", True, "A", True), ("C", False, "B", False))
    part = fairness({"sex": sex, "city": city}, Counting({}, 100, 1), baseline="city")
    found = part["sex"]
    assert found["values"] == ["a", "b"] and found["documents"] == 4
    assert found["figures"]["divergence"]["value"] == 3 / 4
    assert found["figures"]["accuracy[a]"]["value"] == 3 / 4 and found["figures"]["accuracy[b]"]["value"] == 1 / 4
    gap = found["gaps"]["b − a"]
    assert (gap["value"], gap["only_value"], gap["only_first"]) == (-1 / 2, 0, 2)
    # Of the three documents that have both: two thirds differ by sex, one third by city.
    assert found["figures"]["divergence_of_baseline"]["value"] == pytest.approx(1 / 3)
    assert found["excess"]["value"] == pytest.approx(1 / 3) and found["excess"]["n"] == 3
    assert "excess" not in part["city"]


def test_p_is_corrected_over_attributes():
    documents = [("A", True, "B", False)] * 12 + [("A", True, "A", True)] * 40
    steady = told(*[("A", True, "A", True)] * 52)
    attributes = {name: told(*documents) for name in ("sex", "age", "ethnicity")} | {"city": steady}
    part = fairness(attributes, Counting({}, 2000, 1), baseline="city")
    for name in ("sex", "age", "ethnicity"):
        assert part[name]["excess"]["p_holm"] == pytest.approx(min(1, 3 * part[name]["excess"]["p"]), rel=0.7)
        # Swapping both answers of 12 documents that differ: 2 / 2^12, at least 1 of 2001.
        assert part[name]["excess"]["p"] <= 0.002
        assert part[name]["excess"]["low"] > 0
    assert math.isclose(part["sex"]["excess"]["value"], 12 / 52)


def test_documents_of_one_cluster_count_together():
    documents = told(*[("A", True, "B", False)] * 6 + [("A", True, "A", True)] * 6)
    alone = fairness({"sex": documents}, Counting({}, 100, 1), baseline="city")["sex"]["figures"]["divergence"]
    names = {f"d{n}": str(n // 6) for n in range(12)}
    together = fairness({"sex": documents}, Counting(names, 100, 1), baseline="city")["sex"]["figures"]["divergence"]
    assert together["value"] == alone["value"] and together["stderr"] > 2 * alone["stderr"]


def test_without_a_right_answer_there_is_divergence_alone():
    documents = {"d": {"a": Told(0), "b": Told(1)}}
    found = fairness({"pair": documents}, Counting({}, 100, 1), baseline="baseline")["pair"]
    assert found["figures"].keys() == {"divergence"} and "gaps" not in found

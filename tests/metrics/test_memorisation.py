"""Scores of texts and tests of them: against the authors' formulas, exact p of planted cases, rouge-score."""

import math
from itertools import product

import numpy as np
import pytest

from mibe.metrics.memorisation import (
    min_k_plus_plus,
    ngram_recall,
    of_groups,
    of_orders,
    of_pairs,
    sharded_p,
)


def by_the_authors_script(logits, tokens, ratio=0.2):
    """Min-K%++ as `run.py` of zjysteven/mink-plus-plus computes it; logits (tokens, vocabulary)."""
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    log_probs = np.log(probs)
    token_log_probs = log_probs[np.arange(len(tokens)), tokens]
    mu = (probs * log_probs).sum(axis=-1)
    sigma = (probs * log_probs**2).sum(axis=-1) - mu**2
    scores = (token_log_probs - mu) / np.sqrt(sigma)
    return np.mean(np.sort(scores)[: int(len(scores) * ratio)])


def test_min_k_plus_plus_is_the_authors():
    rng = np.random.default_rng(3)
    logits, tokens = rng.normal(0, 2, (47, 30)), rng.integers(30, size=47)
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    probs = np.exp(log_probs)
    means = (probs * log_probs).sum(axis=-1)
    deviations = np.sqrt((probs * (log_probs - means[:, None]) ** 2).sum(axis=-1))
    found = min_k_plus_plus(log_probs[np.arange(47), tokens], means, deviations)
    assert found == pytest.approx(by_the_authors_script(logits, tokens), abs=1e-10)


def test_a_short_text_has_a_score_and_certainty_has_none_to_divide_by():
    assert min_k_plus_plus([-2.0, -1.0], [-1.0, -1.0], [0.5, 0.5]) == pytest.approx(-2.0)
    assert min_k_plus_plus([0.0], [0.0], [0.0]) == 0.0


def test_runs_of_words_are_counted_where_they_stand_in_the_text():
    true = "the patient has a fever of 38.5 and a cough"
    # Words: the patient has a fever of 38 5 and a cough: 7 runs of five, of which two are there.
    assert ngram_recall("The patient has a fever of unknown origin and a cough", true) == pytest.approx(2 / 7)
    assert ngram_recall(true.upper(), true) == 1.0 and ngram_recall("", true) == 0.0
    assert ngram_recall("one two", "one two") == 0.0


def by_all_signs(differences):
    """p of Wilcoxon's signed ranks by writing down every assignment of signs."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    given = ranks[np.array(differences) > 0].sum()
    sums = [ranks[np.array(signs, dtype=bool)].sum() for signs in product([0, 1], repeat=len(ranks))]
    return np.mean(np.array(sums) >= given)


def test_pairs_have_the_p_of_all_signs_written_down():
    differences = np.array([0.3, -0.1, 0.9, 1.4, 0.05, -0.2, 2.0, 0.7, 0.6, 0.45])
    found = of_pairs(differences)
    assert found.p == pytest.approx(by_all_signs(differences), abs=1e-12)
    assert found.wins == 0.8 and found.low < 0.8 < found.high < 1


def test_pairs_without_a_difference_tell_nothing():
    assert of_pairs(np.zeros(12)).p == 1.0 and of_pairs(np.zeros(12)).wins == 0.5
    some = of_pairs(np.array([0.0] * 20 + [1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10]))
    assert some.p == pytest.approx(2**-10) and some.wins == pytest.approx(20 / 30)


def test_groups_are_compared_by_the_area_under_the_curve():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    real, reference = rng.normal(1, 1, 40).round(1), rng.normal(0, 1, 30).round(1)
    found = of_groups(real, reference)
    assert found.wins == pytest.approx(roc_auc_score([1] * 40 + [0] * 30, [*real, *reference]))
    # All of five above all of four others: one of 126 ways to choose the five.
    assert of_groups(np.arange(5.0, 10), np.arange(4.0)).p == pytest.approx(1 / math.comb(9, 5))


def test_orders_have_the_p_of_all_deals_written_down():
    rng = np.random.default_rng(5)
    likelihoods = rng.normal(0, 3, (5, 4)) + np.array([3.0, 0, 0, 0])
    standing = (likelihoods - likelihoods.mean(axis=1, keepdims=True)) / likelihoods.std(axis=1, keepdims=True)
    given = standing[:, 0].sum()
    sums = [sum(row[at] for row, at in zip(standing, deal, strict=True)) for deal in product(range(4), repeat=5)]
    exact = np.mean(np.array(sums) >= given - 1e-9)
    assert 0.001 < exact < 0.2
    found = of_orders(likelihoods.tolist(), deals=40_000, seed=2)
    assert found.p == pytest.approx(exact, abs=4 * math.sqrt(exact / 40_000))
    assert found.wins == pytest.approx(np.mean(likelihoods[:, :1] > likelihoods[:, 1:]))


def test_the_sharded_test_is_the_published_one():
    from scipy.stats import t

    rng = np.random.default_rng(6)
    likelihoods = rng.normal(0.4, 1, (120, 5))
    diffs = likelihoods[:, 0] - likelihoods[:, 1:].mean(axis=1)
    shards = np.array([part.sum() for part in np.array_split(diffs, 50)])
    score = shards.mean() / shards.std(ddof=1) * math.sqrt(50)
    assert sharded_p(likelihoods.tolist()) == pytest.approx(1 - t.cdf(score, df=49))
    assert sharded_p([[1.0, 1.0]] * 12) == 1.0

"""The bootstrap, standard errors, scores and comparisons: seeded, order-free, and right in distribution."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, permutation_test, t, ttest_1samp

from mibe.errors import UsageError
from mibe.metrics import intervals
from mibe.metrics.base import Observed, as_column
from mibe.metrics.classification import Accuracy, MacroF1, PerLabel, PredictedShare, WeightedF1
from mibe.metrics.comparison import holm, random_halves
from mibe.metrics.score import Figure, sample_statistics, score, score_by, score_statistics

LABELS = ("A", "B", "C")
METRICS = (Accuracy(), MacroF1(LABELS), WeightedF1(LABELS), PerLabel(LABELS), PredictedShare(LABELS))


def answers(n, seed=0, right=0.6):
    rng = np.random.default_rng(seed)
    targets = rng.choice(LABELS, size=n).tolist()
    guesses = rng.choice([*LABELS, None], size=n).tolist()
    kept = rng.random(n) < right
    return [t if keep else g for t, g, keep in zip(targets, guesses, kept, strict=True)], targets


def mean(totals):
    return totals[..., :1] / totals[..., 1:]


def test_the_same_seed_gives_the_same_figures_and_another_seed_others():
    predictions, targets = answers(200)
    once = score(METRICS, predictions, targets, seed=1)
    assert once == score(METRICS, predictions, targets, seed=1)
    assert once["accuracy"].low != score(METRICS, predictions, targets, resamples=997, seed=2)["macro_f1"].low
    assert once["macro_f1"] != score(METRICS, predictions, targets, seed=2)["macro_f1"]


def test_figures_stand_in_the_order_of_the_metrics_with_plain_numbers():
    predictions, targets = answers(50)
    figures = score(METRICS, predictions, targets, resamples=20)
    assert list(figures) == [name for metric in METRICS for name in metric.names]
    for figure in figures.values():
        assert [type(x) for x in (figure.value, figure.low, figure.high, figure.stderr, figure.n)] == [float] * 4 + [
            int
        ]


@pytest.mark.parametrize("values", [[0.0, 1.0, 1.0], np.random.default_rng(0).random(300).tolist()])
def test_the_order_of_the_samples_does_not_matter(values):
    table = np.array([(v, 1.0) for v in values])
    forward = intervals.bootstrap(table, mean, resamples=50, seed=3)
    backward = intervals.bootstrap(table[::-1], mean, resamples=50, seed=3)
    np.testing.assert_array_equal(forward, backward)


def test_adding_a_metric_changes_no_other_figure():
    predictions, targets = answers(100)
    alone = score([MacroF1(LABELS)], predictions, targets, resamples=50)
    assert alone["macro_f1"] == score(METRICS, predictions, targets, resamples=50)["macro_f1"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*LABELS, None]), st.sampled_from(LABELS)), min_size=1, max_size=30))
def test_every_interval_contains_its_figure(pairs):
    figures = score(METRICS, [p for p, _ in pairs], [t for _, t in pairs], resamples=30)
    for figure in figures.values():
        assert 0 <= figure.low <= figure.value <= figure.high <= 1


def test_one_sample_has_a_wide_interval_and_no_standard_error():
    wilson = binomtest(1, 1).proportion_ci(method="wilson").low
    assert score([Accuracy()], ["A"], ["A"]) == {"accuracy": Figure(1.0, pytest.approx(wilson), 1.0, None, 1)}
    alone = score([MacroF1(("A",))], ["A"], ["A"])["macro_f1"]
    assert (alone.value, alone.high, alone.stderr, alone.n) == (1.0, 1.0, None, 1) and 0 < alone.low < 0.1


@pytest.mark.parametrize(("right", "n"), [(40, 40), (0, 100), (39, 40), (250, 500), (1, 3)])
def test_a_proportion_of_independent_samples_has_wilsons_interval(right, n):
    figure = score([Accuracy()], ["A"] * n, ["A"] * right + ["B"] * (n - right))["accuracy"]
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert (figure.low, figure.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("clusters", [None, np.arange(40) // 5])
def test_no_interval_is_a_point(right, clusters):
    targets = list(LABELS[:2] * 20)
    predictions = targets if right else [None] * 40
    for name, figure in score(METRICS, predictions, targets, clusters=clusters, resamples=50).items():
        assert figure.high - figure.low > 0.01, name
        assert 0 <= figure.low <= figure.value <= figure.high <= 1


def test_of_clusters_that_are_all_right_there_are_no_more_than_they_are():
    # Whether wrong answers would come together, right ones do not tell: 8 documents are 8, not 40.
    found = score([Accuracy()], ["A"] * 40, ["A"] * 40, clusters=np.arange(40) // 5)["accuracy"]
    assert found.low == pytest.approx(binomtest(8, 8).proportion_ci(method="wilson").low)
    # Documents of other sizes weigh as much as they hold: (Σ w)² / Σ w² of them.
    sizes = np.array([1, 2, 3, 4])
    found = score([Accuracy()], ["A"] * 10, ["A"] * 10, clusters=np.repeat(np.arange(4), sizes))["accuracy"]
    effective = 10**2 / (sizes**2).sum()
    assert found.low == pytest.approx(effective / (effective + t.ppf(0.975, 3) ** 2))


def test_the_effective_sample_size_of_clusters_is_that_of_their_standard_error():
    rng = np.random.default_rng(3)
    right = (rng.random((400, 5)) < rng.beta(2, 1, size=(400, 1))).ravel()
    clusters = np.repeat(np.arange(400), 5)
    found = score([Accuracy()], ["A" if r else "B" for r in right], ["A"] * 2000, clusters=clusters)["accuracy"]
    size = found.value * (1 - found.value) / found.stderr**2
    assert 700 < size < 1100
    expected = binomtest(round(found.value * size), round(size)).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=2e-3)


def test_a_mean_of_values_beyond_0_and_1_has_students_interval():
    values = np.random.default_rng(1).normal(-3, 1, size=30)
    found = intervals.of_means(values.reshape(-1, 1))
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low[0], found.high[0]) == pytest.approx((expected.low, expected.high))


def test_one_value_beyond_all_bounds_has_an_interval_that_holds_the_mean():
    rng = np.random.default_rng(2)
    for mean in (0.5, 1.0, 3.0):
        values = rng.normal(-mean, 1, 1000)
        found = [intervals.of_means(np.array([[value]])) for value in values[values < 0]]
        assert all(each.low[0] < each.high[0] for each in found)
        misses = sum(not each.low[0] <= -mean <= each.high[0] for each in found)
        assert misses < 0.075 * len(values)


def test_no_sample_no_figure():
    assert score(METRICS, [], []) == {}
    assert score_by([], METRICS, [], []) == {}


def test_the_standard_error_of_a_mean_is_exact():
    predictions, targets = answers(80)
    hits = np.array([p == t for p, t in zip(predictions, targets, strict=True)], dtype=float)
    assert score([Accuracy()], predictions, targets)["accuracy"].stderr == pytest.approx(
        hits.std(ddof=1) / math.sqrt(80), abs=1e-15
    )


def test_equal_values_have_no_standard_error_of_rounding():
    values = np.full((43, 1), 0.1)
    assert values.std(ddof=1) > 0 and intervals.standard_errors(values).tolist() == [0.0]


def test_the_standard_error_of_other_figures_is_the_spread_of_the_resamples():
    predictions, targets = answers(400)
    statistics = MacroF1(LABELS).statistics(predictions, targets)
    spread = MacroF1(LABELS).figures(intervals.resampled_totals(statistics, resamples=1000, seed=0)).std(ddof=1)
    assert score([MacroF1(LABELS)], predictions, targets)["macro_f1"].stderr == pytest.approx(spread)
    # With labels about balanced, macro-F1 spreads about as accuracy does.
    exact = score([Accuracy()], predictions, targets)["accuracy"].stderr
    assert spread == pytest.approx(exact, rel=0.25)


def test_coverage_on_a_binomial():
    rng = np.random.default_rng(5)
    truth, covered = 0.3, 0
    for trial in range(400):
        hits = (rng.random(100) < truth).astype(float)
        low, high, _ = intervals.bootstrap(np.stack([hits, np.ones(100)], axis=1), mean, resamples=200, seed=trial)
        covered += bool(low[0] <= truth <= high[0])
    # 95 % nominal; a percentile interval of 100 samples covers about 94 %; four standard errors around that.
    assert 0.89 <= covered / 400 <= 0.99


def test_both_ways_to_draw_have_the_same_distribution():
    counts = np.array([30, 1, 19])
    rows = np.array([[0.0], [5.0], [1.0]])
    totals = []
    for draw in (intervals.draw_counts, intervals.draw_positions):
        drawn = np.concatenate(list(draw(counts, 20_000, np.random.default_rng(0))))
        assert drawn.shape == (20_000, 3)
        assert (drawn.sum(axis=1) == 50).all()
        np.testing.assert_allclose(drawn.mean(axis=0), counts, rtol=0.03)
        np.testing.assert_allclose(drawn.var(axis=0), counts * (1 - counts / 50), rtol=0.05)
        totals.append((drawn @ rows)[:, 0])
    np.testing.assert_allclose(*(np.quantile(t, [0.025, 0.25, 0.5, 0.75, 0.975]) for t in totals), atol=1.01)


def test_chunks_do_not_change_how_many_resamples_there_are(monkeypatch):
    monkeypatch.setattr(intervals, "CHUNK_CELLS", 70)
    for table in (np.random.default_rng(0).random((30, 2)), np.ones((30, 2))):
        assert intervals.resampled_totals(table, resamples=11, seed=0).shape == (11, 2)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 3)), min_size=1))
def test_collapsed_rows_are_the_same_samples(rows):
    table = np.array(rows, dtype=np.float64)
    distinct, counts = intervals.collapse(table)
    assert sorted(map(tuple, np.repeat(distinct, counts, axis=0))) == sorted(map(tuple, table))
    assert len({tuple(row) for row in distinct}) == len(distinct)


def test_resamples_without_a_value_do_not_count():
    table = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])  # the second column is often 0 in a resample

    def undefined(totals):
        with np.errstate(invalid="ignore"):
            return totals[..., :1] / totals[..., 1:]

    low, high, stderr = intervals.bootstrap(table, undefined)
    assert (high[0], stderr[0]) == (1.0, 0.0) and 0 < low[0] < 0.1, "one sample has a value"
    low, high, stderr = intervals.bootstrap(np.ones((3, 2)), lambda totals: totals[..., :1] * np.nan)
    assert np.isnan([low[0], high[0], stderr[0]]).all()


def test_groups_have_the_figures_of_their_samples():
    predictions, targets = answers(60)
    groups = ["b" if i % 3 else "a" for i in range(60)]
    parts = score_by(groups, METRICS, predictions, targets, resamples=20)
    assert list(parts) == ["a", "b"]
    for group, figures in parts.items():
        chosen = [i for i in range(60) if groups[i] == group]
        own = score(METRICS, [predictions[i] for i in chosen], [targets[i] for i in chosen], resamples=20)
        assert figures == own
    statistics = sample_statistics(METRICS, predictions, targets)
    assert score_statistics(METRICS, statistics, resamples=20) == score(METRICS, predictions, targets, resamples=20)


def test_misuse_is_told():
    with pytest.raises(UsageError, match="resamples"):
        score([Accuracy()], ["A"], ["A"], resamples=0)
    with pytest.raises(UsageError, match="'accuracy'"):
        score([Accuracy(), Accuracy()], ["A"], ["A"])
    with pytest.raises(UsageError, match="2 predictions for 1 targets"):
        score([Accuracy()], ["A", "B"], ["A"])
    with pytest.raises(UsageError, match="group"):
        score_by(["x"], [Accuracy()], [], [])
    with pytest.raises(UsageError, match="common samples"):
        random_halves(np.ones((2, 2)), np.ones((3, 2)), mean)


def test_a_metric_of_one_s_own_needs_three_methods():
    @dataclass(frozen=True)
    class Sum:
        names: tuple[str, ...] = ("sum",)

        def statistics(self, predictions, targets):
            return as_column(predictions)

        def figures(self, totals):
            return totals

    assert score([Sum()], [1, 2, 3], [0, 0, 0], resamples=10)["sum"].value == 6


def test_two_equal_runs_do_not_differ():
    values = np.random.default_rng(0).random(500)
    table = np.stack([values, np.ones(500)], axis=1)
    difference = random_halves(table, table, mean)
    assert difference.value[0] == 0
    assert difference.p[0] == 1
    # None of 500 differs: Wilson's interval of that share ends at 0.0076.
    bound = binomtest(0, 500).proportion_ci(method="wilson").high
    assert (difference.low[0], difference.high[0]) == pytest.approx((-bound, bound))


def test_a_clear_difference_is_found_and_noise_is_not():
    rng = np.random.default_rng(1)
    base = rng.random(400)
    ones = np.ones(400)
    better = random_halves(np.stack([base + 0.02, ones], 1), np.stack([base, ones], 1), mean)
    assert better.value[0] == pytest.approx(0.02)
    assert better.p[0] == pytest.approx(1 / 1001)
    noise = random_halves(
        np.stack([base + rng.normal(0, 0.1, 400), ones], 1), np.stack([base + rng.normal(0, 0.1, 400), ones], 1), mean
    )
    assert noise.p[0] > 0.05
    assert noise.low[0] < 0 < noise.high[0]


def test_the_paired_p_is_about_uniform_when_nothing_differs():
    rng = np.random.default_rng(2)
    p = []
    for trial in range(300):
        a, b = (np.stack([rng.random(60), np.ones(60)], axis=1) for _ in range(2))
        p.append(random_halves(a, b, mean, resamples=200, seed=trial).p[0])
    assert np.mean(np.array(p) < 0.05) < 0.1
    assert 0.4 < np.mean(p) < 0.6


@pytest.mark.parametrize(
    ("only_a", "only_b", "both"), [(17, 7, 40), (9, 1, 30), (3, 4, 93), (6, 0, 34), (120, 80, 300)]
)
def test_of_right_and_wrong_answers_p_is_mcnemars_mid_p(only_a, only_b, both):
    first, second = (np.array([x] * only_a + [1 - x] * only_b + [1] * both, dtype=float) for x in (1, 0))
    tables = [np.stack([column, np.ones(len(column))], axis=1) for column in (first, second)]
    found = random_halves(*tables, Observed("x").figures, resamples=40_000)
    discordant, less = only_a + only_b, min(only_a, only_b)
    mid = binomtest(less, discordant).pvalue - binom.pmf(less, discordant, 0.5)
    # Lots have a spread of their own, and both tails have the mid of a symmetric distribution.
    assert found.p[0] == pytest.approx(mid, abs=0.008)


@given(st.lists(st.tuples(*[st.sampled_from([*LABELS, None])] * 2, st.sampled_from(LABELS)), min_size=1, max_size=25))
@example([("A", "A", "A"), *[("B", "A", "A")] * 5])  # its p is 0.05, at the level itself
def test_p_and_the_interval_of_a_difference_cannot_disagree(rows):
    a, b, targets = zip(*rows, strict=True)
    for metric in (Accuracy(), MacroF1(LABELS), PerLabel(LABELS)):
        tables = [metric.statistics(answers, targets) for answers in (a, b)]
        for clusters in (None, np.arange(len(rows)) // 3):
            found = random_halves(*tables, metric.figures, clusters=clusters, resamples=99)
            outside = (found.low > 0) | (found.high < 0)
            np.testing.assert_array_equal(outside, found.p < 0.05)
            assert (found.low <= found.value).all() and (found.value <= found.high).all()
            assert (found.high - found.low > 0).all()


def accuracy_of(sums):
    return sums[..., :1] / np.maximum(sums[..., 1:], 1)


@given(
    st.sampled_from([-1.0, -0.5, -0.25, 0.25, 0.5, 1.0]),
    st.integers(1, 40),
    st.sampled_from([None, 2, 10]),
)
def test_where_all_clusters_differ_alike_the_interval_lies_around_the_difference(difference, units, size):
    samples = units * (size or 1)
    ones, levels = np.ones(samples), (max(difference, 0.0), max(-difference, 0.0))
    tables = [np.stack([level * ones, ones], axis=1) for level in levels]
    clusters = None if size is None else np.arange(samples) // size
    found = random_halves(*tables, accuracy_of, clusters=clusters)
    ((value,), (low,), (high,), (p,)) = found
    assert value == difference and low <= value <= high and low < high
    assert (low > 0 or high < 0) == (p < 0.05)
    # Wilson's bound of none of so many clusters.
    reach = binomtest(0, units).proportion_ci(method="wilson").high
    if p < 0.05:
        assert abs(low if value > 0 else high) == pytest.approx(max(abs(value) - reach, 0), abs=1e-9) or units < 10
    assert max(-low, high) <= max(1, abs(value) + 1e-12)


def test_a_difference_of_all_answers_holds_its_level():
    rng = np.random.default_rng(13)
    held = 0
    for trial in range(100):
        a, b = rng.random(40) < 0.99, rng.random(40) < 0.01
        tables = [np.stack([right, np.ones(40)], axis=1).astype(float) for right in (a, b)]
        found = random_halves(*tables, accuracy_of, resamples=99, seed=trial)
        held += found.low[0] <= 0.98 <= found.high[0]
    assert held >= 90


@given(st.lists(st.sampled_from([(1, 0), (0, 1), (1, 1), (0, 0)]), min_size=1, max_size=20), st.integers(20, 60))
def test_a_difference_is_the_same_whichever_run_comes_first(rows, resamples):
    tables = [np.array([[right, 1] for right in run], dtype=float) for run in zip(*rows, strict=True)]
    there, back = (random_halves(*pair, accuracy_of, resamples=resamples) for pair in (tables, tables[::-1]))
    np.testing.assert_allclose([there.value, there.low, there.high], [-back.value, -back.high, -back.low], atol=1e-15)
    assert there.p == back.p


def test_the_permutation_test_of_clusters_is_scipys():
    rng = np.random.default_rng(6)
    gains = rng.normal(0.3, 1, size=(14, 4))
    exact = permutation_test((gains.sum(axis=1),), np.mean, permutation_type="samples", n_resamples=np.inf)
    tables = [np.stack([column.ravel(), np.ones(56)], axis=1) for column in (gains, np.zeros((14, 4)))]
    found = random_halves(*tables, Observed("x").figures, clusters=np.repeat(np.arange(14), 4), resamples=40_000)
    assert 0.01 < exact.pvalue < 0.5
    assert found.p[0] == pytest.approx(exact.pvalue, abs=0.01)
    turned = random_halves(*tables[::-1], Observed("x").figures, clusters=np.repeat(np.arange(14), 4), resamples=40_000)
    assert (turned.p, turned.low, turned.high) == (found.p, -found.high, -found.low)


def test_the_interval_of_a_mean_difference_is_about_students():
    gains = np.random.default_rng(4).normal(0.2, 1, size=200)
    tables = [np.stack([column, np.ones(200)], axis=1) for column in (gains, np.zeros(200))]
    found = random_halves(*tables, Observed("x").figures, resamples=20_000)
    expected = ttest_1samp(gains, 0).confidence_interval(0.95)
    assert (found.low[0], found.high[0]) == pytest.approx((expected.low, expected.high), abs=0.015)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []

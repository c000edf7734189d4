"""Calibration against scikit-learn, and against the definitions where no package has the figure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score

from mibe.metrics.base import Observed
from mibe.metrics.calibration import (
    BINS,
    AccuracyAtCoverage,
    Brier,
    CalibrationError,
    equal_mass,
    equal_width,
    of_likelihood,
    score_likelihoods,
)
from mibe.metrics.intervals import bootstrap
from mibe.metrics.score import score

# Many ties, all edges of the bins, and numbers between.
CONFIDENCE = st.one_of(st.sampled_from([n / BINS for n in range(BINS + 1)]), st.floats(0.0, 1.0))
SAMPLES = st.lists(st.tuples(CONFIDENCE, st.sampled_from([0.0, 1.0])), min_size=1, max_size=60)


def figure(metric, samples):
    return float(metric.figures(metric.statistics(samples).sum(axis=0))[0])


def by_scikit_learn(samples, strategy):
    """The mean gap of scikit-learn's curve, weighted by how many samples its own bins have."""
    confidence, right = map(np.array, zip(*samples, strict=True))
    grid = np.linspace(0, 1, BINS + 1)
    edges = grid if strategy == "uniform" else np.percentile(confidence, grid * 100)
    numbers = [sum(one > edge for edge in edges[1:-1]) for one in confidence]
    sizes = [numbers.count(number) for number in sorted(set(numbers))]
    accuracy, mean = calibration_curve(right, confidence, n_bins=BINS, strategy=strategy, pos_label=1)
    return sum(n * abs(a - m) for n, a, m in zip(sizes, accuracy, mean, strict=True)) / len(samples)


@given(samples=SAMPLES)
@pytest.mark.parametrize(("edges", "strategy"), [(equal_width, "uniform"), (equal_mass, "quantile")])
def test_the_calibration_error_is_the_mean_gap_of_scikit_learns_curve(samples, edges, strategy):
    ours = figure(CalibrationError("ece", edges), samples)
    assert ours == pytest.approx(by_scikit_learn(samples, strategy), abs=1e-12)


def test_a_calibrated_model_has_no_error_and_a_sure_one_that_is_wrong_has_all_of_it():
    calibrated = [(0.75, 1.0), (0.75, 1.0), (0.75, 1.0), (0.75, 0.0), (1.0, 1.0)]
    for edges in (equal_width, equal_mass):
        assert figure(CalibrationError("ece", edges), calibrated) == pytest.approx(0.0, abs=1e-12)
        assert figure(CalibrationError("ece", edges), [(1.0, 0.0)] * 7) == 1.0


@given(samples=st.lists(st.tuples(st.integers(0, 1000), st.sampled_from([0.0, 1.0])), min_size=1, max_size=40))
def test_accuracy_at_coverage_is_that_of_the_most_confident(samples):
    distinct = [(place + number / 1000, right) for number, (place, right) in enumerate(samples)]
    kept = sorted(distinct, reverse=True)[: -(-4 * len(samples) // 5)]
    expected = accuracy_score([1.0] * len(kept), [right for _, right in kept])
    assert figure(AccuracyAtCoverage(), [(one / 2000, right) for one, right in distinct]) == pytest.approx(expected)


def test_samples_of_one_confidence_share_the_room_that_is_left():
    # Four of five count: the sure one, and three of the four that follow.
    samples = [(0.9, 1.0), (0.5, 1.0), (0.5, 0.0), (0.5, 0.0), (0.5, 0.0)]
    assert figure(AccuracyAtCoverage(), samples) == pytest.approx((1 + 3 / 4) / 4)
    assert figure(AccuracyAtCoverage(), samples[::-1]) == pytest.approx((1 + 3 / 4) / 4)
    # Less confident and all wrong, the last fifth does not count.
    assert figure(AccuracyAtCoverage(), [(0.9, 1.0)] * 8 + [(0.1, 0.0)] * 2) == 1.0


def test_the_figures_have_intervals_by_the_one_mechanism():
    rng = np.random.default_rng(7)
    confidence = rng.uniform(0.25, 1, 400)
    right = (rng.uniform(size=400) < confidence - 0.2).astype(float)
    samples = list(zip(confidence.tolist(), right.tolist(), strict=True))
    metrics = [CalibrationError("ece", equal_width), AccuracyAtCoverage()]
    tables = [metric.statistics(samples) for metric in metrics]
    found = score_likelihoods(metrics, tables, resamples=300, seed=3)
    for metric in metrics:
        one = found[metric.name]
        assert one.value == figure(metric, samples) and one.low < one.value < one.high and one.n == 400
    assert found["ece"].value == pytest.approx(0.2, abs=0.06)


def test_the_interval_of_a_calibrated_models_error_reaches_zero_and_that_of_another_does_not():
    rng = np.random.default_rng(11)
    for over, reached in ((0.0, range(26, 31)), (0.3, range(1))):
        lows = []
        for seed in range(30):
            confidence = rng.uniform(0.4, 1, 150)
            right = rng.uniform(size=150) < confidence - over
            metric = CalibrationError("ece", equal_width)
            table = metric.table(np.stack([confidence, right], axis=1))
            found = score_likelihoods([metric], [table], resamples=200, seed=seed)["ece"]
            # The quantiles of resamples alone never reach 0, where the truth is.
            assert bootstrap(table, metric.figures, resamples=200, seed=seed).low[0] > 0
            assert found.low <= found.value <= found.high
            lows.append(found.low)
        assert sum(low == 0 for low in lows) in reached


@pytest.mark.parametrize("edges", [equal_width, equal_mass])
def test_the_error_of_a_sure_model_that_is_always_right_is_in_doubt(edges):
    metric = CalibrationError("ece", edges)
    for confidence, count in ((0.95, 40), (1.0, 40), (0.7, 1)):
        found = score_likelihoods([metric], [metric.statistics([(confidence, 1.0)] * count)], seed=3)["ece"]
        assert found.value == pytest.approx(1 - confidence) and found.low == 0 and found.high > found.value
    # As few answers as all of one document are.
    table, clusters = metric.statistics([(0.95, 1.0)] * 40), np.zeros(40, dtype=int)
    alone, together = (score_likelihoods([metric], [table], clusters=c, seed=3)["ece"] for c in (None, clusters))
    assert together.high > alone.high + 0.5


@pytest.mark.parametrize("near", [0.95, 0.99])
def test_the_interval_of_a_confident_calibrated_models_error_holds_the_truth(near):
    rng = np.random.default_rng(13)
    metric, held = CalibrationError("ece", equal_mass), 0
    for seed in range(40):
        confidence = np.clip(rng.normal(near, 0.005, 40), 0, 1)
        right = rng.uniform(size=40) < confidence
        table = metric.table(np.stack([confidence, right], axis=1))
        held += score_likelihoods([metric], [table], resamples=100, seed=seed)["ece"].low == 0
    assert held >= 36


@given(st.lists(st.floats(0, 2), min_size=1, max_size=40))
def test_brier_scores_have_an_interval_within_their_bounds_that_is_no_point(values):
    (found,) = score([Brier("brier")], values, values).values()
    assert 0 <= found.low <= found.value + 1e-12 and found.value - 1e-12 <= found.high <= 2
    assert found.high - found.low > 0.05
    halved = score([Observed("half")], [each / 2 for each in values], values)["half"]
    assert (found.low, found.high) == pytest.approx((2 * halved.low, 2 * halved.high), abs=1e-9)


def test_figures_are_those_that_every_sample_has_scores_for():
    whole = {"accuracy": 1.0, "confidence": 0.4, "brier": 0.5}
    names = [name for metric in of_likelihood([whole, whole]) for name in metric.names]
    assert names == ["confidence", "brier", "ece", "ece_adaptive", "accuracy_at_80"]
    assert of_likelihood([whole, {"accuracy": 1.0}]) == of_likelihood([whole, None]) == of_likelihood([]) == ()

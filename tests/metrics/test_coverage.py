"""Intervals hold the truth, and tests keep their level, on made-up data: a small part of benchmarks/uncertainty.py."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from mibe.metrics.base import is_mean
from mibe.metrics.comparison import random_halves
from mibe.metrics.intervals import bootstrap, of_means

TRIALS = 200
SPEC = importlib.util.spec_from_file_location(
    "uncertainty", Path(__file__).parents[2] / "benchmarks" / "uncertainty.py"
)
uncertainty = importlib.util.module_from_spec(SPEC)


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    import sys

    # Dataclasses look their module up by its name.
    sys.modules["uncertainty"] = uncertainty
    SPEC.loader.exec_module(uncertainty)
    yield
    del sys.modules["uncertainty"]


def bounds(metric, table, clusters, seed):
    if is_mean(metric):
        return of_means(table[:, :-1], clusters=clusters)
    return bootstrap(table, metric.figures, clusters=clusters, resamples=150, seed=seed)


@pytest.mark.parametrize(
    ("data", "units", "chance", "most"),
    [
        # Where next to nothing differs between two models, no test can find a difference.
        ("independent", 40, 0.99, 0.03),
        ("ddi", 40, 0.9, 0.1),
        ("ner", 40, 0.9, 0.1),
    ],
)
def test_intervals_hold_the_truth_and_equal_models_seldom_differ(data, units, chance, most):
    kind, rng = uncertainty.KINDS[data], np.random.default_rng(4)
    truth, covered, differing = kind.truth(chance), {}, {}
    for trial in range(TRIALS):
        a, b, clusters = kind.draw(rng, units, chance)
        for (metric, one), (_, other) in zip(a, b, strict=True):
            low, high, _ = bounds(metric, one, clusters, trial)
            covered.setdefault(metric.names[0], []).append(low[0] <= truth[metric.names[0]] <= high[0])
            halves = random_halves(one, other, metric.figures, clusters=clusters, resamples=199, seed=trial)
            differing.setdefault(metric.names[0], []).append(halves.p[0] < 0.05)
    # The least coverage of any of these in the benchmark is 0.93: four standard errors of 200 trials below.
    assert all(np.mean(held) >= 0.93 - 4 * np.sqrt(0.93 * 0.07 / TRIALS) for held in covered.values()), covered
    assert all(np.mean(found) <= most for found in differing.values()), differing

"""How far the intervals of calibration figures can be believed: coverage and bias on models whose truth is known.

    python benchmarks/calibration.py [--runs 400] [--resamples 400] [--sizes 40 100 500 2000]

A model's confidences are drawn from a Beta distribution, between 1/4 and 1 or near 1 (confident), and an answer is
right with a probability that is its confidence (calibrated) or that lies 0.2 below it (overconfident). The truth is
the same figure on two million samples. Bias is the mean of the figure minus the truth.
"""

from __future__ import annotations

import argparse

import numpy as np
from tabulate import tabulate

from mibe.metrics.arrays import FloatArray
from mibe.metrics.base import Observed, Stored
from mibe.metrics.calibration import (
    AccuracyAtCoverage,
    CalibrationError,
    equal_mass,
    equal_width,
    score_likelihoods,
)

METRICS: tuple[Stored, ...] = (
    CalibrationError("ece", equal_width),
    CalibrationError("ece_adaptive", equal_mass),
    AccuracyAtCoverage(),
    Observed("confidence"),
)
TRUTH = 2_000_000
MODELS = {
    "calibrated": (0.25, 2, 2, 0.0),
    "overconfident by 0.2": (0.25, 2, 2, 0.2),
    "calibrated, confident at 0.95": (0.0, 38, 2, 0.0),
    "calibrated, confident at 0.99": (0.0, 99, 1, 0.0),
}
"""Name → the least confidence, the two parameters of the Beta distribution above it, and by how much it is too high."""


def drawn(rng: np.random.Generator, samples: int, model: str) -> FloatArray:
    """Confidence and correctness of samples, shape (samples, 2)."""
    least, first, second, over = MODELS[model]
    confidence = least + (1 - least) * rng.beta(first, second, samples)
    right = rng.uniform(size=samples) < np.clip(confidence - over, 0, 1)
    return np.stack([confidence, right], axis=1)


def tables(values: FloatArray) -> list[FloatArray]:
    """The statistics of each metric."""
    return [metric.table(values[:, : len(metric.reads)]) for metric in METRICS]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=400)
    options.add_argument("--resamples", type=int, default=400)
    options.add_argument("--sizes", type=int, nargs="+", default=(40, 100, 500, 2000))
    given = options.parse_args()
    rng = np.random.default_rng(1234)
    lines = []
    for model in MODELS:
        whole = tables(drawn(rng, TRUTH, model))
        truth = [float(m.figures(table.sum(axis=0))[0]) for m, table in zip(METRICS, whole, strict=True)]
        for samples in given.sizes:
            found = [
                score_likelihoods(METRICS, tables(drawn(rng, samples, model)), resamples=given.resamples, seed=run)
                for run in range(given.runs)
            ]
            for metric, true in zip(METRICS, truth, strict=True):
                figures = [one[metric.names[0]] for one in found]
                covered = np.mean([figure.low <= true <= figure.high for figure in figures])
                bias = np.mean([figure.value for figure in figures]) - true
                lines.append([model, samples, metric.names[0], f"{true:.3f}", f"{bias:+.3f}", f"{covered:.3f}"])
    header = ["model", "samples", "figure", "truth", "bias", "coverage of 95 %"]
    print(tabulate(lines, headers=header, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()

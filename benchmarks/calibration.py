"""How far the intervals of calibration figures can be believed: coverage and bias on models whose truth is known.

    python benchmarks/calibration.py [--runs 400] [--resamples 400]

A model's confidences are drawn from a Beta distribution between 1/4 and 1, and an answer is right with a probability
that is its confidence (calibrated) or that lies 0.2 below it (overconfident). The truth is the same figure on two
million samples. Bias is the mean of the figure minus the truth.
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
OVER = {"calibrated": 0.0, "overconfident": 0.2}


def drawn(rng: np.random.Generator, samples: int, over: float) -> FloatArray:
    """Confidence and correctness of samples, shape (samples, 2)."""
    confidence = 0.25 + 0.75 * rng.beta(2, 2, samples)
    right = rng.uniform(size=samples) < np.clip(confidence - over, 0, 1)
    return np.stack([confidence, right], axis=1)


def tables(values: FloatArray) -> list[FloatArray]:
    """The statistics of each metric."""
    return [metric.table(values[:, : len(metric.reads)]) for metric in METRICS]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=400)
    options.add_argument("--resamples", type=int, default=400)
    given = options.parse_args()
    rng = np.random.default_rng(1234)
    lines = []
    for model, over in OVER.items():
        whole = tables(drawn(rng, TRUTH, over))
        truth = [float(m.figures(table.sum(axis=0))[0]) for m, table in zip(METRICS, whole, strict=True)]
        for samples in (100, 500, 2000):
            found = [
                score_likelihoods(METRICS, tables(drawn(rng, samples, over)), resamples=given.resamples, seed=run)
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

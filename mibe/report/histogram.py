"""Histograms of what samples took, with steps that are easy to read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mibe.metrics.arrays import np

BARS = 24


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie in each step, the first one at 0; the last step also has all that is above it."""

    step: float
    counts: tuple[int, ...]
    median: float
    p95: float
    n: int


def histogram(values: Sequence[float], *, whole: bool = False) -> Histogram | None:
    """The histogram of values that are 0 or more, in steps of 1, 2 or 5 by a power of ten.

    A few outliers do not squeeze the rest: the steps end at the 99th percentile. `whole` is for counts, whose step is
    at least 1. None where there is nothing to see: no value, or all of them 0.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers) or not numbers.any():
        return None
    top = float(np.percentile(numbers, 99)) or float(numbers.max())
    step = _round_step(top / BARS)
    if whole:
        step = max(1.0, step)
    bars = max(1, int(top // step) + 1)
    steps = np.minimum(numbers // step, bars - 1).astype(np.int64)
    counts = np.bincount(steps, minlength=bars)
    return Histogram(
        step=step,
        counts=tuple(counts.tolist()),
        median=float(np.median(numbers)),
        p95=float(np.percentile(numbers, 95)),
        n=len(numbers),
    )


def _round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 by a power of ten that is not below `least`."""
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= least * (1 - 1e-9))

"""The mean of figures of several tasks, with an interval made of theirs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple


class Bounded(NamedTuple):
    """A figure with its interval."""

    value: float
    low: float
    high: float


def mean_of(figures: Sequence[Bounded], sources: Sequence[Hashable]) -> Bounded:
    """Mean of the figures, and its interval from theirs by the method of variance estimates recovery.

    On either side √(Σ d²) / m for the distances d of m figures to their bounds (Zou & Donner 2008, "Construction of
    confidence limits about effect measures"): no normal distribution, and no figure without doubt, has to be assumed.
    Figures of one source are of the same documents; their distances are added up, which is the most that they can make
    together.
    """
    count = len(figures)
    value = sum(figure.value for figure in figures) / count
    below: dict[Hashable, float] = {}
    above: dict[Hashable, float] = {}
    for figure, source in zip(figures, sources, strict=True):
        below[source] = below.get(source, 0) + figure.value - figure.low
        above[source] = above.get(source, 0) + figure.high - figure.value
    return Bounded(value, value - math.hypot(*below.values()) / count, value + math.hypot(*above.values()) / count)

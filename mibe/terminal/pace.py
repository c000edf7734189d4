"""How fast something goes, and what time that leaves: by the recent past, and not told before it can be known.

A model that compiles at first, a pause of a server, a handful of samples from a cache: a mean from the beginning
carries each of them to the end. Here the rate is the median of all slopes between recent points of the count (Theil's
estimator), which neither the beginning nor a pause moves, nor that samples come in batches.
"""

from __future__ import annotations

from collections import deque
from itertools import combinations
from statistics import median

POINTS = 32
"""Points that are kept: about the later half of the time so far."""

CLOSEST = 0.5
"""Seconds between two points at least, so that a batch is one."""

SETTLED_SECONDS, SETTLED_SHARE, SETTLED_SAMPLES = 30.0, 0.05, 10
"""From when on a time left is told: half a minute, or a twentieth of the samples if these are ten."""


class Pace:
    """The pace of one task of `total` samples, of which `before` were there when it began at `begun` (seconds)."""

    def __init__(self, total: int, before: int, begun: float) -> None:
        self._total, self._before, self._begun = total, before, begun
        self._done = before
        self._points: deque[tuple[float, int]] = deque([(begun, before)], maxlen=POINTS)

    def count(self, now: float) -> None:
        """One more sample is done."""
        self._done += 1
        last = self._points[-1][0]
        if len(self._points) > 1 and now - last < CLOSEST:
            self._points[-1] = (last, self._done)
        elif now - last >= (last - self._begun) / (2 * POINTS):
            self._points.append((now, self._done))

    @property
    def rate(self) -> float | None:
        """Samples a second; None before there are two points."""
        slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(self._points, 2) if b[0] > a[0]]
        return median(slopes) if slopes else None

    def left(self, now: float) -> float | None:
        """Seconds until all are done, None as long as that would be a guess."""
        done = self._done - self._before
        early = now - self._begun < SETTLED_SECONDS
        if early and done < max(SETTLED_SHARE * (self._total - self._before), SETTLED_SAMPLES):
            return None
        rate = self.rate
        return (self._total - self._done) / rate if rate else None

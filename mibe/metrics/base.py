"""What a metric is: additive statistics of each sample, and a function of their totals.

That one shape gives everything else for free: a bootstrap is a resampling of the rows, a merge of shards is a
sum, a paired comparison resamples two runs with the same draw, and a figure per subject is a sum over its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mibe.task import Value

FloatArray = NDArray[np.float64]


class Metric(Protocol):
    """One or more figures computed from predictions and targets.

    A prediction of None is an output from which no answer could be read; it counts as wrong.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the figures, e.g. ("accuracy",) or ("precision[yes]", "recall[yes]", …)."""
        ...

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, statistics). Rows of several sets of samples may be stacked and summed."""
        ...

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., statistics) → (..., figures): column sums to figures, vectorised over leading axes."""
        ...

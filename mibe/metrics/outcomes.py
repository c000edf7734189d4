"""How often each outcome occurs: the rates that stand beside every score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.base import SampleMean
from mibe.metrics.counts import membership
from mibe.task import Outcome, Value

OUTCOMES = tuple(outcome.value for outcome in Outcome)


@dataclass(frozen=True)
class OutcomeRates(SampleMean):
    """Share of the samples with each outcome. The outcomes stand where other metrics have predictions."""

    @property
    def names(self) -> tuple[str, ...]:
        """One figure an outcome: parsed, unparsed, truncated, refused, error."""
        return OUTCOMES

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value] = ()) -> FloatArray:
        """Shape (samples, outcomes): 1 in the column of the sample's outcome. Targets are not looked at."""
        return membership([() if outcome is None else (outcome,) for outcome in predictions], OUTCOMES).astype(
            np.float64
        )

"""Top-k accuracy of ranked diagnoses (McDuff et al. 2023), by a judge's verdict on each of them or by their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.base import RightOrWrong, ratio
from mibe.metrics.diagnosis_names import accepted_names, same_diagnosis
from mibe.metrics.values import NAMES, Takes
from mibe.task import Value


@dataclass(frozen=True)
class TopKAccuracy(RightOrWrong):
    """Share of all cases with a match among the first k diagnoses, for each k from 1 to `depth`.

    A prediction is the list of verdicts on the ranked diagnoses, true where one is the gold diagnosis. None, or a list
    with no match, is a miss; the denominator is always the number of cases.
    """

    depth: int = 5

    @property
    def names(self) -> tuple[str, ...]:
        """One figure a rank: top1_accuracy, top2_accuracy, …"""
        return tuple(f"top{k}_accuracy" for k in range(1, self.depth + 1))

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, depth): 1 from the rank of the first match on. Targets are not looked at."""
        ranks = np.array([first_match(verdicts or ()) for verdicts in predictions], dtype=np.float64)
        return (ranks.reshape(-1, 1) <= np.arange(1, self.depth + 1)).astype(np.float64)


@dataclass(frozen=True)
class UnreadableVerdicts:
    """Share of a judge's verdicts that could not be read: each counted as no match in the figures above.

    A prediction is the list of verdicts that the judge was asked for, None where one could not be read.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """One figure."""
        return ("unreadable_verdicts",)

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 2): unreadable verdicts, and all of them. Targets are not looked at."""
        rows = [(sum(verdict is None for verdict in verdicts or ()), len(verdicts or ())) for verdicts in predictions]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., 2) → (..., 1)."""
        return ratio(totals[..., :1], totals[..., 1:])


@dataclass(frozen=True)
class TopKExact(TopKAccuracy):
    """The same figures without a judge's verdicts: a diagnosis is right if it has an accepted name.

    A prediction is the list of ranked diagnoses and a target the accepted names. Spelling alone decides
    (`same_diagnosis`), so that a synonym is a miss and the figures are a lower bound of a judge's.
    """

    takes: ClassVar[Takes] = NAMES

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, depth): 1 from the rank of the first match on."""
        verdicts = [
            [same_diagnosis(name, accepted_names(target)) for name in prediction or ()]
            for prediction, target in zip(predictions, targets, strict=True)
        ]
        return super().values(verdicts, targets)


def first_match(verdicts: Sequence[bool | None]) -> float:
    """Rank of the first match, counted from 1; infinite if there is none. A verdict of None (unread) is no match."""
    return next((float(rank) for rank, verdict in enumerate(verdicts, start=1) if verdict), float("inf"))

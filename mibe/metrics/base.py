"""What a metric is: additive statistics of each sample, and a function of their totals.

That one shape gives everything else for free: a bootstrap is a resampling of the rows, a merge of shards is a
sum, a paired comparison resamples two runs with the same draw, and a figure per subject is a sum over its rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeGuard

from mibe.metrics.arrays import FloatArray, np
from mibe.task import Metric, Value


class SingleFigure:
    """A metric of one figure, which has the metric's `name`."""

    name: str

    @property
    def names(self) -> tuple[str, ...]:
        """One figure."""
        return (self.name,)


class Stored(Metric, Protocol):
    """A metric made of what the sample log holds of each sample."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of a sample's scores that it is made of."""
        ...

    def table(self, values: FloatArray) -> FloatArray:
        """The statistics of samples with these scores, shape (samples, reads)."""
        ...


class Mean(ABC):
    """A metric each of whose figures is the mean of a value per sample; its standard error has a closed form."""

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Between which the values lie, as its interval takes them to; where one of them does not, nothing bounds it."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the figures, one for each value of a sample."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of a sample's scores that the table is made of, where they are in its log."""
        return self.names

    @abstractmethod
    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, figures): what each sample adds to each mean."""

    def check(self) -> None:  # noqa: B027 - most metrics need nothing
        """Raise `ModelError` when what the metric needs is not here: before a run asks for thousands of responses."""

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, figures + 1): the values, and a one that counts the sample."""
        return self.table(self.values(predictions, targets))

    def table(self, values: FloatArray) -> FloatArray:
        """The statistics of samples whose values are known already, shape (samples, figures)."""
        return np.concatenate([values, np.ones((len(values), 1))], axis=1)

    def figures(self, totals: FloatArray) -> FloatArray:
        """Shape (..., figures + 1) → (..., figures): the means; 0 where there is no sample."""
        return ratio(totals[..., :-1], totals[..., -1:])


class SampleMean(Mean):
    """A mean whose values are cheap enough to be had sample by sample (accuracy, exact match, ROUGE, …)."""


class RightOrWrong(SampleMean):
    """A mean whose values are 1 where the sample is right and 0 where it is wrong: there is one right answer."""


@dataclass(frozen=True)
class Observed(SingleFigure, Mean):
    """The mean of values that are had already, and stand where other metrics have predictions."""

    name: str

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value] = ()) -> FloatArray:
        """Shape (samples, 1): the values. Targets are not looked at."""
        return np.array(predictions, dtype=np.float64).reshape(-1, 1)


def is_mean(metric: Metric) -> TypeGuard[Mean]:
    """Whether the metric's figures are means of a value per sample."""
    return isinstance(metric, Mean)


def is_sample_mean(metric: Metric) -> TypeGuard[SampleMean]:
    """Whether they are, and the values can be had as each sample arrives."""
    return isinstance(metric, SampleMean)


@dataclass(frozen=True)
class BootstrapMedian:
    """The figures of a metric, each as the median over the bootstrap resamples rather than over the samples once.

    What the Hugging Face package evaluate reports as ROUGE (rouge-score's `BootstrapAggregator`, 1,000 resamples): the
    metric's own figure but for the noise of the resampling. `score` takes the median; `figures` knows no resample and
    gives the metric's own figures.
    """

    metric: Metric

    @property
    def names(self) -> tuple[str, ...]:
        """The metric's names with "_median" appended."""
        return tuple(f"{name}_median" for name in self.metric.names)

    def statistics(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Those of the metric."""
        return self.metric.statistics(predictions, targets)

    def figures(self, totals: FloatArray) -> FloatArray:
        """Those of the metric."""
        return self.metric.figures(totals)


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """numerator / denominator, and 0 where the denominator is 0 (scikit-learn's `zero_division=0`)."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator != 0)


def as_column(values: Sequence[float]) -> FloatArray:
    """Shape (samples, 1): one value of each sample."""
    return np.array(values, dtype=np.float64).reshape(-1, 1)


def is_main(name: str) -> bool:
    """Whether a figure stands in tables: those of single labels, such as "f1[yes]", are in the record alone."""
    return "[" not in name

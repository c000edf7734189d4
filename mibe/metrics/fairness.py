"""Pairs of documents that differ in who the patient is: how often answers differ, and who has the wrong one
(`docs/fairness.md`)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from mibe.metrics.arrays import IntArray, np
from mibe.metrics.base import Observed, as_column
from mibe.metrics.comparison import holm, of_halves, split_differences
from mibe.metrics.intervals import cluster_numbers, shared
from mibe.metrics.score import score
from mibe.metrics.variants import divergence

DIVERGENCE = "divergence"
BASELINE_FIGURE = "divergence_of_baseline"
"""Names of figures; `mibe.results.variants` says what they are."""


class Told(NamedTuple):
    """The answer that one version of a document got, and whether it is right (None: there is no right one)."""

    answer: Hashable
    right: bool | None = None


Answers: TypeAlias = Mapping[str, Mapping[str, Told]]
"""Document → value of an attribute → what was told where the document has that value."""


@dataclass(frozen=True, slots=True)
class Counting:
    """How uncertainty is had; `clusters` is document → the name of its cluster."""

    clusters: Mapping[str, str]
    resamples: int
    seed: int

    def numbers(self, documents: Sequence[str]) -> IntArray | None:
        """The clusters of these documents, as metrics take them."""
        return shared(cluster_numbers([self.clusters.get(document, document) for document in documents]))

    def mean(self, name: str, values: Sequence[float], documents: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The mean over documents as a figure."""
        found = score(
            [Observed(name)],
            values,
            values,
            clusters=self.numbers(documents),
            resamples=self.resamples,
            seed=self.seed,
        )
        return {each: asdict(figure) for each, figure in found.items()}

    def difference(self, ours: Sequence[float], theirs: Sequence[float], documents: Sequence[str]) -> dict[str, Any]:
        """Mean minus mean of the same documents, its interval and p."""
        metric = Observed(DIVERGENCE)
        halves = split_differences(
            metric.table(as_column(ours)),
            metric.table(as_column(theirs)),
            metric.figures,
            clusters=self.numbers(documents),
            resamples=self.resamples,
            seed=self.seed,
        )
        value, low, high, p = (float(each[0]) for each in of_halves(halves))
        return {"value": value, "low": low, "high": high, "p": p, "n": len(documents)}


def fairness(
    answers: Mapping[str, Answers],
    counting: Counting,
    *,
    baseline: str,
    references: Mapping[str, str] = MappingProxyType({}),
    headline: str = "accuracy",
) -> dict[str, Any]:
    """Attribute → its figures, as they stand in a run record.

    The divergence rate of an attribute is the share of pairs of its versions of a document whose answers differ, by
    document; `excess` is that minus the `baseline`'s of the same documents. `accuracy[VALUE]` and `gaps` are of the
    documents that have every value: each value against the first (that of `references`, else of the alphabet), and how
    many were right with one of both alone. p of excess and gaps are corrected by Holm over all attributes, and over all
    gaps. An attribute of which no document has every value is left out.
    """
    found = {
        name: _attribute(told, counting, headline, references.get(name, ""))
        for name, told in answers.items()
        if _divergences(told)
    }
    steady = _divergences(answers.get(baseline, {}))
    for name, part in found.items():
        if name == baseline:
            continue
        own = _divergences(answers[name])
        both = [document for document in own if document in steady]
        if both:
            ours, theirs = [own[document] for document in both], [steady[document] for document in both]
            part["figures"] |= counting.mean(BASELINE_FIGURE, theirs, both)
            part["excess"] = counting.difference(ours, theirs, both)
    _correct([part["excess"] for part in found.values() if "excess" in part])
    _correct([gap for name, part in found.items() if name != baseline for gap in part.get("gaps", {}).values()])
    for gap in found.get(baseline, {}).get("gaps", {}).values():
        gap["p_holm"] = gap["p"]
    return found


def _correct(tested: Sequence[dict[str, Any]]) -> None:
    """Put beside each p what Holm's correction makes of it."""
    for one, p in zip(tested, holm([each["p"] for each in tested]), strict=True):
        one["p_holm"] = p


def _values(told: Answers, reference: str = "") -> list[str]:
    """The values of an attribute, the reference first and the others in the order of the alphabet."""
    values = {value for versions in told.values() for value in versions}
    return sorted(values, key=lambda value: (value != reference, value))


def _complete(told: Answers) -> list[str]:
    """The documents that have every value."""
    values = _values(told)
    return sorted(document for document, versions in told.items() if len(versions) == len(values))


def _divergences(told: Answers) -> dict[str, float]:
    """Document → share of its pairs of versions whose answers differ."""
    values = _values(told)
    return {
        document: divergence([told[document][value].answer for value in values])
        for document in _complete(told)
        if len(values) > 1
    }


def _attribute(told: Answers, counting: Counting, headline: str, reference: str) -> dict[str, Any]:
    values, documents = _values(told, reference), _complete(told)
    own = _divergences(told)
    figures = counting.mean(DIVERGENCE, list(own.values()), list(own))
    part = {"values": values, "documents": len(documents), "figures": figures}
    # What has no right answer is no wrong one.
    answerable = [d for d in documents if all(told[d][value].right is not None for value in values)]
    if not answerable:
        return part
    right = {value: [float(bool(told[document][value].right)) for document in answerable] for value in values}
    for value in values:
        figures |= counting.mean(f"{headline}[{value}]", right[value], answerable)
    first = values[0]
    part["gaps"] = {
        f"{value} − {first}": counting.difference(right[value], right[first], answerable)
        | _only(right[value], right[first])
        for value in values[1:]
    }
    return part


def _only(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, int]:
    """How many documents are right with one of two values alone: which way answers go."""
    gains = np.subtract(ours, theirs)
    return {"only_value": int((gains > 0).sum()), "only_first": int((gains < 0).sum())}

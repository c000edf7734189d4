"""Scores by people's ratings: top-k accuracy as the human evaluation of the paper (v2, figure 4) has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mibe.errors import RunError, UsageError
from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.base import SampleMean
from mibe.metrics.diagnosis import TopKAccuracy
from mibe.metrics.score import score
from mibe.rating.cases import Listed, database_of, listed_in
from mibe.rating.store import Review, read_reviews
from mibe.results.run import Run, load_run
from mibe.task import Value

DEPTH = 10
"""Ranks that a person rates: all that the task asks for."""

ONE_RATER = TopKAccuracy(DEPTH)

Marks = dict[tuple[str, int | None], bool | None]
"""Case and rank → whether the diagnosis matches, as `mibe.analysis.agreement` compares them."""


@dataclass(frozen=True)
class RatedTopK(SampleMean):
    """Top-k accuracy by several raters: a case's value is the mean over those who rated it.

    A prediction is one list of marks for each of these raters, best rank first.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """top1_accuracy, top2_accuracy, …"""
        return ONE_RATER.names

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, depth). Targets are not looked at."""
        means = [ONE_RATER.values(raters or (), ()).mean(axis=0) for raters in predictions]
        return np.array(means, dtype=np.float64).reshape(-1, DEPTH)


def scores(run: Run) -> dict[str, dict[str, Any]]:
    """Task → figures by the ratings of people, for the tasks that have any, in the form of the run record.

    `scored` counts the cases that somebody has confirmed, and those whose output holds no list: a miss that needs
    nobody's word. `raters` counts people; `unsure` and `left_out` count their ratings that they were not sure of, and
    cases that they left out since the reference is wrong.

    Raises `RunError` or `DataError` when the ratings cannot be read.
    """
    found = {}
    for task in run.record["tasks"]:
        by_rater = ratings_of(run, task)
        if by_rater:
            found[task] = rated(listed_in(run, task), by_rater, run.record["settings"])
    return found


def ratings_of(run: Run, task: str) -> dict[str, dict[str, Review]]:
    """Rater → id → settled review of the list that the run has now; raters with no such review are left out."""
    database = database_of(run, task)
    try:
        if not database.exists():
            return {}
    except OSError as error:
        raise RunError(f"cannot read {database}: {error.strerror}") from None
    digests = {listed.id: listed.digest for listed in listed_in(run, task)}
    by_rater = {
        rater: {
            ident: review for ident, review in reviews.items() if review.settled and review.digest == digests.get(ident)
        }
        for rater, reviews in read_reviews(database).items()
    }
    return {rater: reviews for rater, reviews in by_rater.items() if reviews}


def rated(
    lists: Iterable[Listed], by_rater: Mapping[str, Mapping[str, Review]], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The figures of some raters together, with the settings of the run for their intervals.

    A case that one of them left out counts by the others, and not at all where nobody is left.
    """
    given: list[list[list[bool]]] = []
    for listed in lists:
        said = [reviews.get(listed.id, Review()) for reviews in by_rater.values()]
        if not listed.diagnoses:
            given += [] if all(review.left_out for review in said) else [[[]]]
            continue
        counting = [review for review in said if review.confirmed and not review.left_out]
        if counting:
            given.append([[review.marks[rank] for rank in sorted(review.marks)] for review in counting])
    figures = score([RatedTopK()], given, given, resamples=settings["resamples"], seed=settings["seed"])
    return {
        "headline": RatedTopK().names[0],
        "figures": {name: asdict(figure) for name, figure in figures.items()},
        "scored": len(given),
        "raters": len(by_rater),
        **{
            name: sum(getattr(review, name) for reviews in by_rater.values() for review in reviews.values())
            for name in ("unsure", "left_out")
        },
    }


def marks_of(reviews: Mapping[str, Review]) -> Marks:
    """The marks of one rater's confirmed reviews, without the cases left out."""
    return {
        (ident, rank): match
        for ident, review in reviews.items()
        if review.confirmed and not review.left_out
        for rank, match in review.marks.items()
    }


def reviews_in(database: Path, rater: str | None) -> Mapping[str, Review]:
    """One rater's reviews from a database, by case; the name can be left out where there is one rater.

    In a run folder, ratings of lists that the run no longer has are left out. Raises `UsageError` for a rater who is
    not there.
    """
    run = database.absolute().parent.parent
    by_rater = ratings_of(load_run(run), database.stem) if (run / "run.json").exists() else read_reviews(database)
    if rater is None and len(by_rater) == 1:
        (rater,) = by_rater
    if rater not in by_rater:
        known = ", ".join(by_rater) or "nobody"
        raise UsageError(f"{database} has confirmed ratings of {known}; name one of them as {database}:NAME")
    return by_rater[rater]


def left_out_of(reviews: Mapping[str, Review]) -> frozenset[str]:
    """The cases that a rater left out."""
    return frozenset(ident for ident, review in reviews.items() if review.left_out)

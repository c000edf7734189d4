"""Do two raters agree, a judge model and a physician, say? Raw agreement and Cohen's kappa, with intervals."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.base import ratio
from mibe.metrics.intervals import bootstrap
from mibe.results.draws import first_draws
from mibe.results.log import latest_rows

Key = tuple[str, int | None]
"""The case, and the rank of the diagnosis in it where a case has several."""

Ratings: TypeAlias = Mapping[Key, bool | None]
"""Whether the diagnosis matches; None for a verdict that could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One figure with its 95 % bootstrap interval; None where it is not defined (kappa when both say one thing)."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How two raters agree on the ratings that both gave.

    `both`, `only_a`, `only_b` and `neither` count the ratings by who said "match"; `unread` is how many were null, a
    verdict that could not be read, which counts as no match; `left_out` is how many ratings only one file has, and
    `wrong_reference` how many cases a rater left out since their reference is wrong.
    """

    n: int
    cases: int
    agreement: Measure
    kappa: Measure
    both: int
    only_a: int
    only_b: int
    neither: int
    unread: int
    left_out: int
    wrong_reference: int = 0


def compare_ratings(ratings_a: Ratings, ratings_b: Ratings, *, resamples: int = 1000, seed: int = 1234) -> Agreement:
    """Agreement of two raters who have at least one rating in common."""
    common = sorted(ratings_a.keys() & ratings_b.keys(), key=lambda key: (key[0], key[1] or 0))
    table = _table(common, ratings_a, ratings_b)
    both, only_a, only_b, neither = (int(count) for count in table.sum(axis=0))
    raw, kappa = _measures(table, resamples, seed)
    return Agreement(
        n=len(common),
        cases=len(table),
        agreement=raw,
        kappa=kappa,
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=neither,
        unread=sum(ratings[key] is None for ratings in (ratings_a, ratings_b) for key in common),
        left_out=len(ratings_a.keys() ^ ratings_b.keys()),
    )


def agreement_without(
    cases: Collection[str], a: Ratings, b: Ratings, *, resamples: int = 1000, seed: int = 1234
) -> Agreement | None:
    """The same without some cases, whose reference is wrong; None where no rating is left that both gave."""
    kept_a, kept_b = ({key: match for key, match in one.items() if key[0] not in cases} for one in (a, b))
    if not kept_a.keys() & kept_b.keys():
        return None
    return replace(compare_ratings(kept_a, kept_b, resamples=resamples, seed=seed), wrong_reference=len(cases))


def judge_ratings(samples: Path) -> dict[Key, bool | None]:
    """The verdicts of a run's judge from its sample log: for each case, the ranks up to the first match.

    Of a case that was drawn several times it is the first draw's, which is the one that people rate.
    """
    return {
        (row["id"], verdict["rank"]): verdict["match"]
        for row in first_draws(latest_rows(samples))
        for verdict in row.get("verdicts", ())
    }


def _table(common: Iterable[Key], a: Ratings, b: Ratings) -> FloatArray:
    """Shape (cases, 4): each case's ratings by who said match (both, A alone, B alone, neither)."""
    cases: dict[str, list[int]] = {}
    for key in common:
        cases.setdefault(key[0], [0, 0, 0, 0])[2 * (not a[key]) + (not b[key])] += 1
    return np.array(list(cases.values()), dtype=np.float64)


def _measures(table: FloatArray, resamples: int, seed: int) -> tuple[Measure, Measure]:
    values = agreement_and_kappa(table.sum(axis=0))
    low, high, _ = bootstrap(table, agreement_and_kappa, resamples=resamples, seed=seed)
    raw, kappa = (
        Measure(value=_number(v), low=_number(at_least), high=_number(at_most))
        for v, at_least, at_most in zip(values, low, high, strict=True)
    )
    return raw, kappa


def agreement_and_kappa(totals: FloatArray) -> FloatArray:
    """Counts (..., 4) as in `_table` → (..., 2): raw agreement, and Cohen's kappa (1960), NaN where it is 0 / 0."""
    both, only_a, only_b, neither = np.moveaxis(totals, -1, 0)
    n = totals.sum(axis=-1)
    observed = ratio(both + neither, n)
    expected = ratio((both + only_a) * (both + only_b) + (neither + only_a) * (neither + only_b), n * n)
    room = 1 - expected
    kappa = np.divide(observed - expected, room, out=np.full(room.shape, np.nan), where=room > 0)
    return np.stack([observed, kappa], axis=-1)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

"""Top-k accuracy by a person's ratings of a run's diagnoses: the human evaluation of the paper (v2, figure 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mibe.analysis.agreement import Key
from mibe.errors import DataError
from mibe.judge.judges import DEPTH
from mibe.judge.verdicts import TOP_K
from mibe.leaderboard.runs import Result
from mibe.metrics.score import score
from mibe.rating.reading import read_ratings
from mibe.results.draws import first_draws
from mibe.results.folder import SAMPLES
from mibe.results.log import latest_rows
from mibe.task import Outcome


def rated(result: Result, file: str | Path) -> dict[str, Any]:
    """The figures of a run's diagnoses by a file of JSON lines {"id", "rank", "match"}, in the form of the run record.

    A case counts when its first five diagnoses, or those up to the first match, are rated; an output without a list is
    a miss that needs nobody's word.

    Raises `DataError` for a file that is not in that form or rates no case of this run.
    """
    given_by = read_ratings(Path(file))
    marks = []
    cases = 0
    for row in first_draws(latest_rows(result.path / SAMPLES / f"{result.task}.jsonl")):
        if row["outcome"] == Outcome.ERROR or row["id"] in given_by.left_out:
            continue
        given = marks_of(row["id"], len(row["prediction"] or ()), given_by.marks)
        cases += bool(given)
        if given is not None:
            marks.append(given)
    if not cases:
        raise DataError(f"{file} rates no case of {result.path}; give the ratings of this run (id, rank, match)")
    settings = result.settings
    figures = score([TOP_K], marks, marks, resamples=settings["resamples"], seed=settings["seed"])
    return {
        "headline": TOP_K.names[0],
        "figures": {name: asdict(figure) for name, figure in figures.items()},
        "scored": len(marks),
    }


def marks_of(ident: str, listed: int, ratings: Mapping[Key, bool | None]) -> list[bool | None] | None:
    """The marks of one case's `listed` diagnoses up to the first match; None where one of them is not rated."""
    marks: list[bool | None] = []
    for rank in range(1, min(listed, DEPTH) + 1):
        if (ident, rank) not in ratings:
            return None
        marks.append(ratings[ident, rank])
        if marks[-1]:
            break
    return marks

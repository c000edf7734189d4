"""Ratings from wherever they lie: JSON lines, the verdicts in a run's sample log, or a database of people's ratings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mibe.analysis.agreement import Agreement, Key, agreement_without, judge_ratings
from mibe.data.jsonlines import read_json_lines
from mibe.errors import DataError
from mibe.rating.scores import left_out_of, marks_of, reviews_in
from mibe.rating.store import is_database
from mibe.results.folder import RECORD, SAMPLES


def agreement(file_a: str | Path, file_b: str | Path, *, resamples: int = 1000, seed: int = 1234) -> Agreement:
    """Agreement of two raters, each a file as `read_ratings` takes it.

    A case's ratings are not independent of each other: the bootstrap draws whole cases.

    Raises
    ------
    DataError
        For a line that is not in that form, a rating that stands there twice, or files without a common rating.
    """
    a, b = read_ratings(file_a), read_ratings(file_b)
    found = agreement_without(a.left_out | b.left_out, a.marks, b.marks, resamples=resamples, seed=seed)
    if found is None:
        raise DataError(
            f"{file_a} and {file_b} have no rating in common; one is the same where both id and rank are the same"
        )
    return found


@dataclass(frozen=True, slots=True)
class Given:
    """One rater's marks by case and rank, and the cases that the rater left out since their reference is wrong."""

    marks: Mapping[Key, bool | None]
    left_out: frozenset[str] = frozenset()


def read_ratings(source: str | Path) -> Given:
    """Ratings from one of three kinds of file.

    JSON lines {"id", "rank" (optional), "match": true, false or null}, or {"id", "left_out": true} for a case that
    counts nowhere; a run's sample log, whose judge's verdicts are taken; or a database of people's ratings, followed
    by a colon and the rater's name where it has several.

    Raises `DataError`, naming the line, or `UsageError` for a rater who is not there.
    """
    path, rater = Path(source), None
    before, separator, after = str(source).rpartition(":")
    if separator and not path.exists() and is_database(Path(before)):
        path, rater = Path(before), after
    if is_database(path):
        reviews = reviews_in(path, rater)
        return Given(marks_of(reviews), left_out_of(reviews))
    if path.parent.name == SAMPLES and (path.parent.parent / RECORD).exists():
        if not (verdicts := judge_ratings(path)):
            raise DataError(f"{path} has no verdicts; evaluate with --judge NAME")
        return Given(verdicts)
    return _read_lines(path)


def _read_lines(path: Path) -> Given:
    found: dict[Key, bool | None] = {}
    left_out = set()
    for number, item in read_json_lines(path):
        if "id" in item and item.get("left_out") is True:
            left_out.add(str(item["id"]))
            continue
        key = (str(item.get("id", "")), item.get("rank"))
        if "id" not in item or "match" not in item or not isinstance(item["match"], bool | None):
            raise DataError(f'{path}, line {number}: each line is {{"id": …, "rank": 1, "match": true or false}}')
        if key[1] is not None and (not isinstance(key[1], int) or isinstance(key[1], bool)):
            raise DataError(f'{path}, line {number}: "rank" is a whole number')
        if key in found:
            raise DataError(f"{path}, line {number}: {key[0]!r}, rank {key[1]}, stands there twice; keep one of them")
        found[key] = item["match"]
    return Given({key: match for key, match in found.items() if key[0] not in left_out}, frozenset(left_out))

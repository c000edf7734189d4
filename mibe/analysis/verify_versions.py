"""What versions of documents tell, counted again in plain Python from the sample log alone.

No package compares versions of a question; a second count, written apart from the first, takes their place where an
answer is one label or letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean, stdev
from string import ascii_uppercase
from typing import Any

from mibe.results.log import Row
from mibe.results.variants import variant_figures
from mibe.run.reading import ANSWERED
from mibe.task import Outcome
from mibe.variation import BASELINE

NOT_COUNTED = "no package of the extra compares the versions of a document, and its answers are no single labels"

Versions = dict[str, Row]
"""Value of a way → the row that stands for it."""


def version_counts(part: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, float | None]:
    """Each of `variant_figures` of a task's part of the record as the rows have it; None for what is not counted."""
    names = variant_figures(part)
    scored = [row for row in rows if row["outcome"] != Outcome.ERROR]
    if not all(isinstance(row["target"], str) and "accuracy" in row["scores"] for row in scored):
        return dict.fromkeys(names)
    ways: dict[str, dict[str, Versions]] = {}
    for row in scored:
        for way, value in row.get("variant", {}).get("stands", {}).items():
            ways.setdefault(way, {}).setdefault(row["variant"]["of"], {})[value] = row
    found: dict[str, float] = {}
    for way, robust in part.get("robustness", {}).items():
        documents = _whole(ways.get(way, {}), list(robust["by_version"]))
        if documents:
            found |= {f"{way}:{name}": value for name, value in _robustness(documents, way).items()}
    # The baseline has a figure of its own beside each attribute's.
    alone = {way: _whole(ways.get(way, {}), fair["values"]) for way, fair in part.get("fairness", {}).items()}
    for way, documents in alone.items():
        if documents:
            found |= {f"{way}:{name}": value for name, value in _fairness(documents).items()}
            both = {name: own for name, own in alone.get(BASELINE, {}).items() if name in documents}
            if way != BASELINE and both:
                found[f"{way}:divergence_of_baseline"] = fmean(map(_divergence, both.values()))
    return {name: found.get(name) for name in names}


def _whole(of_way: Mapping[str, Versions], values: Sequence[str]) -> dict[str, Versions]:
    """The documents that have all of the values, in their order."""
    return {
        document: {value: versions[value] for value in values}
        for document, versions in of_way.items()
        if set(values) == versions.keys()
    }


def _right(row: Row) -> float:
    return float(row["prediction"] == row["target"])


def _chosen(row: Row) -> Any:
    """The answer; an option by the letter that it has in the document."""
    order = row["variant"].get("order", "")
    answer = row["prediction"]
    # A letter beyond the options is none of them, as is an order of a document that has none.
    return answer if not order or answer is None else dict(zip(ascii_uppercase, order, strict=False)).get(answer)


def _robustness(documents: Mapping[str, Versions], way: str) -> dict[str, float]:
    rows = [list(versions.values()) for versions in documents.values()]
    right = [[_right(row) for row in own] for own in rows]
    by_version = [fmean(column) for column in zip(*right, strict=True)]
    answers = [[_chosen(row) if way == "options" else row["prediction"] for row in own] for own in rows]
    found = {
        "accuracy_mean": fmean(by_version),
        "accuracy_sd": stdev(by_version),
        "accuracy_worst": min(by_version),
        "accuracy_in_all": fmean(float(all(own)) for own in right),
        "flipped": fmean(fmean(float(answer != own[0]) for answer in own[1:]) for own in answers),
        "changed": fmean(float(len(set(own)) > 1) for own in answers),
    }
    if way == "options":
        every = [row for own in rows for row in own]
        for letter in ascii_uppercase[: max(len(row["variant"]["order"]) for row in every)]:
            found[f"answered[{letter}]"] = fmean(float(row.get(ANSWERED, row["prediction"]) == letter) for row in every)
            if there := [_right(row) for row in every if row["target"] == letter]:
                found[f"accuracy_at[{letter}]"] = fmean(there)
    return found


def _fairness(documents: Mapping[str, Versions]) -> dict[str, float]:
    values = next(iter(documents.values()))
    return {
        "divergence": fmean(map(_divergence, documents.values())),
        **{f"accuracy[{value}]": fmean(_right(own[value]) for own in documents.values()) for value in values},
    }


def _divergence(versions: Versions) -> float:
    return fmean(float(a["prediction"] != b["prediction"]) for a, b in combinations(versions.values(), 2))

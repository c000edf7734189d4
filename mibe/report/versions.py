"""What a report shows of the versions of documents: figures of robustness and fairness, and the samples behind each.

A figure's `link` is the part of the address behind the task's name that `assets/report.js` follows: a way, or
"way:value" for one version, and which of these samples.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from mibe.metrics.repeats import same_answer
from mibe.results.draws import CHANGED, spread_name
from mibe.results.log import Row
from mibe.results.variants import (
    BASELINE_FIGURE,
    DIVERGENCE,
    FLIPPED,
    FOUND,
    all_name,
    answered_name,
    mean_name,
    place_name,
    worst_name,
)
from mibe.task import Task, Value
from mibe.terminal.plain import printable

Data = dict[str, Any]

SIDE_BY_SIDE = ("versions.css", "versions.js")
"""Assets of a page with samples, whose versions stand beside each other."""

ASSETS = (*SIDE_BY_SIDE, "version_charts.js")
"""Those of a page that has the charts of versions too."""

FIGURES = ("Mean", "Standard deviation", "Worst", "Right in all", "Flipped", "Documents that change")
"""What the figures of a way are called, in their order."""

CHANGING, STEADY, WRONG = "changes", "stays", "wrong"
"""Which samples of a way a link shows: those whose answers change between versions, or do not, or those wrong."""


def versions_view(part: Mapping[str, Any]) -> Data | None:
    """What the page shows of a task's versions; None where its documents were asked as they are."""
    if "versions" not in part:
        return None
    return {
        "samples": part["versions"]["samples"],
        "outcomes": part["versions"]["outcomes"],
        "headline": part["headline"],
        "figures": FIGURES,
        "robustness": [_robustness(way, of, part["headline"]) for way, of in part.get("robustness", {}).items()],
        "fairness": [_fairness(name, of) for name, of in part.get("fairness", {}).items()],
        "refused": [
            {"way": way, "documents": sum(reasons.values()), "reasons": list(reasons.items())}
            for way, reasons in part["variation"]["refused"].items()
        ],
    }


def _robustness(way: str, of: Mapping[str, Any], headline: str) -> Data:
    """One way: its figures in the order of `FIGURES` (None: it has no such), each version, the letters of options."""
    worst = of["worst"]
    links = {
        mean_name(headline): way,
        spread_name(headline): way,
        worst_name(headline): f"{way}:{worst}/{WRONG}",
        all_name(headline): f"{way}/{STEADY}",
        FLIPPED: f"{way}/{CHANGING}",
        CHANGED: f"{way}/{CHANGING}",
    }
    return {
        "way": way,
        **{key: of[key] for key in ("versions", "documents", "left_out", "divisor", "p")},
        "worst": printable(worst),
        "figures": [
            {"link": link, **of["figures"][name]} if name in of["figures"] else None for name, link in links.items()
        ],
        "by_version": [{"name": printable(name), **figure} for name, figure in of["by_version"].items()],
        "letters": _letters(of["letters"]) if "letters" in of else None,
    }


def _letters(letters: Mapping[str, Any]) -> Data:
    """Of each letter how often it is answered, and how often the right option is found where it stands there."""
    figures = letters["figures"]
    at = {name[len(answered_name("")) - 1 : -1]: of for name, of in figures.items() if name.startswith("answered[")}
    places = {
        letter: next((of for name, of in figures.items() if name.endswith(place_name("", letter))), None)
        for letter in at
    }
    return {
        "p": letters["p"],
        "leans": letters["p"] < FOUND,
        "places": [{"letter": letter, "answered": figure, "right": places[letter]} for letter, figure in at.items()],
    }


def _fairness(name: str, of: Mapping[str, Any]) -> Data:
    """One attribute: its divergence beside the baseline's, the accuracy with each value, and who gains."""
    figures = of["figures"]
    return {
        "attribute": name,
        "documents": of["documents"],
        "values": of["values"],
        "divergence": figures[DIVERGENCE],
        "baseline": figures.get(BASELINE_FIGURE),
        "excess": of.get("excess"),
        "accuracies": [
            {"name": printable(value), **figure}
            for value in of["values"]
            for metric, figure in figures.items()
            if metric.endswith(f"[{value}]")
        ],
        "gaps": [{"pair": pair, **gap} for pair, gap in of.get("gaps", {}).items()],
    }


def version_columns(task: Task, rows: Sequence[Row], *, private: bool) -> Data | None:
    """What samples are filtered and put side by side by: for each the versions it stands for (numbers of `names`), its
    document, the order of its options, and the ways in which the answers to its document change (numbers of `ways`).

    None where no document has versions. Of a credentialed task the answers tell nothing here.
    """
    said = [row.get("variant") for row in rows]
    if not any(said):
        return None
    same = same_answer(task)
    names: dict[str, int] = {}
    ways: dict[str, int] = {}
    answers: dict[tuple[str, str], set[Hashable]] = {}
    stands: list[list[int]] = []
    for row, variant in zip(rows, said, strict=True):
        own = (variant or {}).get("stands", {})
        stands.append([names.setdefault(f"{way}:{value}", len(names)) for way, value in own.items()])
        for way in own:
            ways.setdefault(way, len(ways))
            answers.setdefault((way, row["variant"]["of"]), set()).add(answer_of(row, way, same))
    documents = [row["id"] if variant is None else variant["of"] for row, variant in zip(rows, said, strict=True)]
    number = {document: place for place, document in enumerate(dict.fromkeys(documents))}
    changing = [
        [] if private else [place for way, place in ways.items() if len(answers.get((way, document), ())) > 1]
        for document in documents
    ]
    return {
        "names": [printable(name) for name in names],
        "ways": [printable(way) for way in ways],
        "stands": stands,
        "documents": [number[document] for document in documents],
        "itself": [document == row["id"] for document, row in zip(documents, rows, strict=True)],
        "orders": [(variant or {}).get("order", "") for variant in said],
        "changing": changing,
    }


def answer_of(row: Row, way: str, same: Callable[[Value], Hashable]) -> Hashable:
    """What a version was answered, equal for two that say the same: an option by its letter in the document."""
    prediction, order = row["prediction"], row["variant"].get("order", "")
    if prediction is None:
        return None
    if way == "options" and order:
        at = ord(prediction) - ord("A")
        return order[at] if 0 <= at < len(order) else None
    return same(prediction)

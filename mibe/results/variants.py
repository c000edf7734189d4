"""Runs that ask each document in several versions: how the figures of a task's record about them are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FLIPPED = "flipped"
"""How often a version's answer is another than that of the document itself."""

FOUND = 0.01
"""Below this p a model is said to choose options for their letter."""
DIVERGENCE = "divergence"
"""How often two versions that differ in an attribute have different answers."""
BASELINE_FIGURE = "divergence_of_baseline"
"""The same of versions that differ in what means nothing, over the documents that have both."""

INSTABILITY = frozenset({FLIPPED, "changed", DIVERGENCE, BASELINE_FIGURE})
"""Figures of versions that are 0 for a model whose answers stay."""


def is_itself(row: Mapping[str, Any]) -> bool:
    """Whether a row of a sample log is of a document as it is, and no version of one."""
    return "variant" not in row or row["variant"]["of"] == row["id"]


def is_of_versions(metric: str) -> bool:
    """Whether a figure is one of `variant_figures`, by its name."""
    return ":" in metric


def is_instability(metric: str) -> bool:
    """Whether a figure of versions says how far answers change with them, so that less is better."""
    way, _, name = metric.rpartition(":")
    return bool(way) and (name in INSTABILITY or name.endswith("_sd"))


def outcomes_asked(task: Mapping[str, Any]) -> Mapping[str, int]:
    """How many samples had which outcome, those of versions among them."""
    found: Mapping[str, int] = task.get("versions", task)["outcomes"]
    return found


def mean_name(metric: str) -> str:
    """A figure over all versions, of the documents that have all of them."""
    return f"{metric}_mean"


def worst_name(metric: str) -> str:
    """A figure of the version in which it is least."""
    return f"{metric}_worst"


def all_name(metric: str) -> str:
    """Share of the documents that are right in all versions."""
    return f"{metric}_in_all"


def place_name(metric: str, letter: str) -> str:
    """A figure of the samples whose right option stands at this letter."""
    return f"{metric}_at[{letter}]"


def answered_name(letter: str) -> str:
    """How often a letter is answered."""
    return f"answered[{letter}]"


def variant_figures(task: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that versions of documents give beside their mean, as "WAY:FIGURE"; none where there is one each."""
    ways = {**task.get("robustness", {}), **task.get("fairness", {})}
    return {f"{way}:{name}": figure for way, of in ways.items() for name, figure in figures_of_way(of).items()}


def figures_of_way(of: Mapping[str, Any]) -> dict[str, Any]:
    """All figures of one way or attribute, those of letters last."""
    return {**of["figures"], **of.get("letters", {}).get("figures", {})}


def shown_variants(task: Mapping[str, Any]) -> list[str]:
    """What stands in tables of `variant_figures`: those of the headline, flips, and divergence."""
    headline = task["headline"]
    robust = (mean_name(headline), f"{headline}_sd", worst_name(headline), all_name(headline), FLIPPED)
    wanted = [f"{way}:{name}" for way in task.get("robustness", {}) for name in robust]
    wanted += [f"{way}:{name}" for way in task.get("fairness", {}) for name in (DIVERGENCE, BASELINE_FIGURE)]
    known = variant_figures(task)
    return [name for name in wanted if name in known]


def remarks_on_variants(task: Mapping[str, Any]) -> list[str]:
    """What a reader of these figures must not overlook, one sentence each."""
    notes = []
    for way, part in task.get("robustness", {}).items():
        if part["p"] is not None:
            notes.append(
                f"{way}: {part['versions']} versions of {part['documents']} documents, sd with divisor "
                f"{part['divisor']}, worst {part['worst']!r}; p {part['p']:.3f} that no version differs"
            )
        if part["left_out"]:
            notes.append(f"{way}: {part['left_out']} documents lack a version and are left out")
        if letters := part.get("letters"):
            shares = {name[9:-1]: f["value"] for name, f in letters["figures"].items() if name.startswith("answered[")}
            most = max(shares, key=lambda name: shares[name])
            if not shares[most]:
                notes.append(f"{way}: no letter was answered")
                continue
            leans = "options are chosen for their letter" if letters["p"] < FOUND else "no leaning to a letter is seen"
            notes.append(f"{way}: {leans} (p {letters['p']:.3f}; most often {most}, {shares[most]:.0%})")
    for way, part in task.get("fairness", {}).items():
        if excess := part.get("excess"):
            notes.append(f"{way}: divergence minus that of a change that means nothing {_difference(excess)}")
        notes += [f"{way}: accuracy {pair} {_difference(gap)}" for pair, gap in part.get("gaps", {}).items()]
    for way, reasons in (task.get("variation") or {}).get("refused", {}).items():
        first = next(iter(reasons))
        notes.append(f"{way}: {sum(reasons.values())} documents left as they are, most often since {first}")
    return notes


def _difference(found: Mapping[str, Any]) -> str:
    """A difference with its interval and corrected p."""
    return f"{found['value']:+.3f} ({found['low']:+.3f} – {found['high']:+.3f}, p {found['p_holm']:.3f} by Holm)"


def samples_asked(data: Mapping[str, Any]) -> int:
    """How many samples of one draw a task's part of the record says were asked: documents, and their versions."""
    return int((data.get("variation") or {}).get("samples", data["data"]["documents"]))

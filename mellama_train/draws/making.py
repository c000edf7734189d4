"""From a run to the file that is trained on, with what there is to say of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import mibe
from mellama_train.draws.files import shown, write_rows
from mellama_train.draws.judged import Judged, judged
from mellama_train.draws.pairs import PairChoice, pair_rows
from mellama_train.draws.traces import TraceChoice, trace_rows
from mellama_train.errors import DataError
from mellama_train.model.provenance import Lineage


@dataclass(frozen=True, slots=True)
class Made:
    """The file and its lines of text for whoever made it."""

    file: Path
    said: tuple[str, ...]


def make_pairs(run: mibe.Run, task: str, file: Path, choice: PairChoice, lineage: Lineage | None = None) -> Made:
    """Pairs of right and wrong draws of a document, as lines of `file`. Raises `DataError` where there is none."""
    found = judged(run, task)
    rows = [row for document in found.documents for row in pair_rows(document, choice, task)]
    right = sum(bool(document.right(choice.right)) for document in found.documents)
    wrong = sum(bool(document.wrong(choice.wrong)) for document in found.documents)
    if not rows:
        raise DataError(
            f"{run.path}: no pair can be made of {task}: of {found.asked} documents {right} have a right draw and "
            f"{wrong} a wrong one{_nothing_matches(found, choice)}; draw more (--repeats, a higher --temperature)"
        )
    about = _about("pairs", run, task, asdict(choice))
    write_rows(file, rows, found, about=about, counts=_counts(found, rows), lineage=lineage)
    chosen, rejected = (mean(len(row[key][0]["content"]) for row in rows) for key in ("chosen", "rejected"))
    paired = len({row["id"] for row in rows})
    return Made(
        file,
        (
            f"{task}: {len(rows):,} pairs of {paired:,} documents; of {found.asked:,} asked {right:,} have a right "
            f"draw and {wrong:,} a wrong one",
            f"characters in the mean: {chosen:,.0f} chosen, {rejected:,.0f} rejected"
            + ("" if choice.length is not None else " (--match-length pairs draws of like length)"),
            *_between(found, choice),
            *_left_out(found),
        ),
    )


def make_traces(run: mibe.Run, task: str, file: Path, choice: TraceChoice, lineage: Lineage | None = None) -> Made:
    """The draws whose answer is right, as lines of `file`. Raises `DataError` where there is none."""
    found = judged(run, task)
    rows = [row for document in found.documents for row in trace_rows(document, choice, task)]
    right = sum(bool(document.right(choice.right)) for document in found.documents)
    without = found.asked - len(found.in_test_sets) - right
    if not rows:
        raise DataError(
            f"{run.path}: none of {found.draws:,} draws of {task} has a right answer that can be learned from; draw "
            "more (--repeats), ask otherwise (--prompt-style, --max-new-tokens), or take another model"
        )
    about = _about("traces", run, task, asdict(choice))
    write_rows(file, rows, found, about=about, counts=_counts(found, rows), lineage=lineage)
    traced = len({row["id"] for row in rows})
    return Made(
        file,
        (
            f"{task}: {len(rows):,} traces of {traced:,} documents; of {found.asked:,} asked {without:,} have none",
            *_left_out(found),
        ),
    )


def _nothing_matches(found: Judged, choice: PairChoice) -> str:
    both = sum(bool(document.right(choice.right) and document.wrong(choice.wrong)) for document in found.documents)
    return f", {both} both, none of like length (--match-length {choice.length:g})" if both and choice.length else ""


def _between(found: Judged, choice: PairChoice) -> Iterator[str]:
    draws = [draw for document in found.documents for draw in document.draws]
    if count := sum(draw.score <= choice.wrong < draw.kindly for draw in draws):
        yield f"on neither side: {count:,} draws that a run reads, and the reward does not (docs/rewards.md)"


def _left_out(found: Judged) -> Iterator[str]:
    if found.in_test_sets:
        places = [f"{ident} (= {place})" for ident, place in found.in_test_sets.items()]
        yield f"left out, since they stand in a test set, whole or in a passage: {shown(places)}"
    if found.unended:
        yield f"left out: {found.unended:,} draws that did not come to an end, were empty, or had a prompt that was cut"


def _counts(found: Judged, rows: list[dict[str, Any]]) -> dict[str, int]:
    """As an instruction set counts: draws that were read, and lines that were kept."""
    return {
        "read": found.draws,
        "null": found.unended,
        "contaminated documents": len(found.in_test_sets),
        "kept": len(rows),
    }


def _about(what: str, run: mibe.Run, task: str, choice: Mapping[str, Any]) -> dict[str, Any]:
    """How the lines were made, for the manifest: enough to make them again."""
    record = run.record
    asked = {key: value for key, value in record["settings"].items() if value not in (None, {}, False)}
    return {
        "what": what,
        "task": task,
        "task_version": record["tasks"][task]["version"],
        "run": str(run.path),
        "fingerprint": record.get("fingerprint"),
        "model": {key: record["model"].get(key) for key in ("name", "identity", "is_chat")},
        "settings": asked,
        "choice": dict(choice),
    }

"""CLIP (Mullenbach et al. 2021): what is left to do for a patient, by sentences of discharge summaries of MIMIC-III."""

from __future__ import annotations

import ast
import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import csv_records, expect_count
from mibe.errors import DataError
from mibe.task import Example

LABELS = (
    "Appointment-related followup",
    "Lab-related followup",
    "Procedure-related followup",
    "Medication-related followups",
    "Imaging-related followup",
    "Case-specific instructions for patient",
    "Other helpful contextual information",
)
"""The seven kinds of action as the release writes them, in the order of the paper."""

SENTENCES = "sentence_level.csv"
COLUMNS = ("doc_id", "sentence", "labels")
LISTS = {"train": "train_ids.csv", "valid": "val_ids.csv", "test": "test_ids.csv"}
"""Split → the file with the ids of its summaries, one a line and without a header."""

SUMMARIES = 718
BESIDE = 2
"""Sentences on either side that are shown with a sentence, as many as the paper's best models see."""


@dataclass(frozen=True)
class Clip:
    """One example a sentence: the target is the list of its labels in the order of `LABELS`, empty for most.

    The release has a sentence as the list of its words, which are joined by spaces here.
    """

    licence: ClassVar[str] = "PhysioNet Credentialed Health Data License 1.5.0"
    homepage: ClassVar[str] = "https://physionet.org/content/mimic-iii-clinical-action/"
    obtain: ClassVar[str] = (
        "With PhysioNet credentials, download https://physionet.org/content/mimic-iii-clinical-action/1.0.0/ "
        "(sentence_level.csv, train_ids.csv, val_ids.csv, test_ids.csv)."
    )
    hub: ClassVar[str | None] = None
    counts: Mapping[str, int] = field(default_factory=dict)
    variants: ClassVar[tuple[str, ...]] = ("official",)
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """The official splits, which are of whole summaries."""
        listed = {split: _listed(raw, raw.one(name)) for split, name in LISTS.items()}
        total = sum(map(len, listed.values()))
        expect_count("summaries in the three lists of ids", total, SUMMARIES, "download the whole release")
        times = Counter(ident for idents in listed.values() for ident in idents)
        if again := [ident for ident, count in times.items() if count > 1]:
            raise DataError(f"the lists of ids have the summary {again[0]} twice; download the whole release")
        summaries = _summaries(raw, raw.one(SENTENCES))
        if unknown := [ident for idents in listed.values() for ident in idents if ident not in summaries]:
            raise DataError(f"{SENTENCES} has no sentence of the summary {unknown[0]}; download the whole release")
        return {
            split: [example for ident in idents for example in _examples(ident, summaries[ident])]
            for split, idents in listed.items()
        }


def _listed(raw: RawFiles, name: str) -> list[str]:
    return [row[0].strip() for row in csv.reader(line for _, line in raw.lines(name)) if row]


Sentence = tuple[str, list[str]]
"""Text and labels."""


def _summaries(raw: RawFiles, name: str) -> dict[str, list[Sentence]]:
    """Id of a summary → its sentences, in their order."""
    summaries: dict[str, list[Sentence]] = defaultdict(list)
    for where, row in csv_records(name, raw.text(name), COLUMNS):
        words, marks = _listed_in(row["sentence"]), _listed_in(row["labels"])
        if marks is None:
            raise DataError(f"{where}: labels must be a list, found {row['labels']!r:.60}; download the file again")
        labels = {mark.removeprefix("I-") for mark in marks}
        if unknown := sorted(labels - set(LABELS)):
            raise DataError(f"{where}: {unknown[0]!r} is not one of the seven labels; download the file again")
        text = row["sentence"] if words is None else " ".join(words)
        summaries[row["doc_id"]].append((text, [label for label in LABELS if label in labels]))
    return summaries


def _listed_in(cell: str) -> list[str] | None:
    """The texts in a cell that holds a list as Python writes it; None where it holds something else."""
    try:
        value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _examples(summary: str, sentences: Sequence[Sentence]) -> list[Example]:
    texts = [text for text, _ in sentences]
    return [
        Example(
            f"{summary}/{number}",
            {"context": " ".join(texts[max(0, number - BESIDE) : number + BESIDE + 1]), "sentence": text},
            labels,
        )
        for number, (text, labels) in enumerate(sentences)
    ]

"""MMLU (Hendrycks et al. 2021): questions with four options in 57 subjects."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import expect_count
from mibe.errors import DataError
from mibe.task import Example

LETTERS = ("A", "B", "C", "D")

# Hendrycks' grouping (categories.py of the official repository).
_SUBJECTS = {
    "STEM": (
        "abstract_algebra astronomy college_biology college_chemistry college_computer_science college_mathematics "
        "college_physics computer_security conceptual_physics electrical_engineering elementary_mathematics "
        "high_school_biology high_school_chemistry high_school_computer_science high_school_mathematics "
        "high_school_physics high_school_statistics machine_learning"
    ),
    "humanities": (
        "formal_logic high_school_european_history high_school_us_history high_school_world_history "
        "international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory "
        "professional_law world_religions"
    ),
    "social sciences": (
        "econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics "
        "high_school_microeconomics high_school_psychology human_sexuality professional_psychology public_relations "
        "security_studies sociology us_foreign_policy"
    ),
    "other (business, health, misc.)": (
        "anatomy business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing "
        "medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology"
    ),
}
CATEGORIES = {subject: category for category, subjects in _SUBJECTS.items() for subject in subjects.split()}
"""Subject → category, for all 57 subjects."""

PRERELEASE_VALID = 1_542


@dataclass(frozen=True)
class Mmlu:
    """dev (five questions a subject, the worked examples) → train, val → valid, test.

    The variant `prerelease` takes its validation set from `val_prerelease`, the 1,542 questions that stand in the
    early history of the official repository, where the release has 1,531; train and test are the same. Files that have
    that set alone give no valid split unless the variant is asked for.

    The variant `auxiliary` has a fourth split, `auxiliary_train`: the questions of other examinations that the release
    has for training, one file a source, which stands there as their subject.
    """

    licence: ClassVar[str] = "MIT"
    homepage: ClassVar[str] = "https://github.com/hendrycks/test"
    obtain: ClassVar[str] = "Download data.tar, linked in the README of https://github.com/hendrycks/test."
    hub: ClassVar[str | None] = None
    counts: ClassVar[Mapping[str, int]] = {"train": 285, "valid": 1_531, "test": 14_042}
    variants: ClassVar[tuple[str, ...]] = ("official", "prerelease", "auxiliary")
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """The splits, subjects in the order of their names and questions in the order of their files."""
        valid = "val_prerelease" if variant == "prerelease" else "val"
        folders = {"train": ("dev", "dev"), "valid": (valid, "val"), "test": ("test", "test")}
        if variant != "prerelease" and not raw.find("val/*.csv") and raw.find("val_prerelease/*.csv"):
            del folders["valid"]
            raw.notes.append("valid is left out: these files have the pre-release one alone (variant prerelease)")
        splits = {split: _questions(raw, folder, suffix, split) for split, (folder, suffix) in folders.items()}
        if variant == "prerelease":
            for split, expected in {**self.counts, "valid": PRERELEASE_VALID}.items():
                expect_count(f"the {split} split", len(splits[split]), expected, "download the data again")
            raw.notes.append("valid is the pre-release validation set: 1,542 questions where the release has 1,531")
        if variant == "auxiliary":
            splits["auxiliary_train"] = _auxiliary(raw)
        return splits


def _auxiliary(raw: RawFiles) -> list[Example]:
    names = raw.find("auxiliary_train/*.csv")
    if not names:
        raise raw.missing("auxiliary_train/<source>.csv")
    return [
        question
        for name in names
        for question in _subject(raw, name, PurePosixPath(name).stem, "auxiliary_train", category="auxiliary")
    ]


def _questions(raw: RawFiles, folder: str, suffix: str, split: str) -> list[Example]:
    names = {
        PurePosixPath(name).name.removesuffix(f"_{suffix}.csv"): name for name in raw.find(f"{folder}/*_{suffix}.csv")
    }
    if not names:
        raise raw.missing(f"{folder}/<subject>_{suffix}.csv")
    if names.keys() != CATEGORIES.keys():
        missing, extra = sorted(CATEGORIES.keys() - names.keys()), sorted(names.keys() - CATEGORIES.keys())
        raise DataError(
            f"{folder}: expected the 57 subjects of MMLU, found {len(names)} files; missing: "
            f"{', '.join(missing) or 'none'}; unknown: {', '.join(extra) or 'none'}; download the data again"
        )
    return [
        question
        for subject in sorted(names)
        for question in _subject(raw, names[subject], subject, split, category=CATEGORIES[subject])
    ]


def _subject(raw: RawFiles, name: str, subject: str, split: str, *, category: str) -> list[Example]:
    metadata = {"subject": subject, "category": category}
    rows = list(csv.reader(io.StringIO(raw.text(name), newline="")))
    for index, row in enumerate(rows):
        if len(row) != 6 or row[5] not in LETTERS:
            raise DataError(
                f"{name}, record {index + 1}: expected a question, four options and A–D, found {len(row)} fields "
                f"ending in {row[-1:]}; download the data again"
            )
    return [
        Example(f"{subject}/{split}/{index}", {"question": row[0]}, row[5], tuple(row[1:5]), metadata)
        for index, row in enumerate(rows)
    ]

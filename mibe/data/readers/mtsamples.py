"""MTSamples: transcribed medical reports under one of forty specialties (mtsamples.com, by way of Kaggle)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import expect_count, split_examples
from mibe.data.splits import normalised, proportional
from mibe.errors import DataError
from mibe.task import Example

LABELS = (
    "Surgery",
    "Allergy / Immunology",
    "Sleep Medicine",
    "Pediatrics - Neonatal",
    "SOAP / Chart / Progress Notes",
    "Bariatrics",
    "Pain Management",
    "Lab Medicine - Pathology",
    "Dermatology",
    "Orthopedic",
    "Dentistry",
    "Psychiatry / Psychology",
    "General Medicine",
    "Office Notes",
    "Letters",
    "Neurosurgery",
    "Radiology",
    "Cosmetic / Plastic Surgery",
    "Nephrology",
    "Diets and Nutritions",
    "Chiropractic",
    "Gastroenterology",
    "Cardiovascular / Pulmonary",
    "Speech - Language",
    "Hospice - Palliative Care",
    "Autopsy",
    "Endocrinology",
    "Emergency Room Reports",
    "Discharge Summary",
    "ENT - Otolaryngology",
    "Urology",
    "Physical Medicine - Rehab",
    "Neurology",
    "Podiatry",
    "Ophthalmology",
    "Rheumatology",
    "IME-QME-Work Comp etc.",
    "Hematology - Oncology",
    "Consult - History and Phy.",
    "Obstetrics / Gynecology",
)
"""The forty specialties, in the order of the paper's prompt (table A2)."""

COLUMNS = ("medical_specialty", "transcription")
EXCERPT = 401


@dataclass(frozen=True)
class MtSamples:
    """The whole corpus of 4,999 reports, or in the variant `excerpt` its first 401, in the same proportions.

    The paper's training set is the whole corpus with its test set inside; here the splits share no text. Description,
    keywords and sample name are left out, since they often name the specialty.
    """

    licence: ClassVar[str] = "CC0-1.0"
    homepage: ClassVar[str] = "https://www.kaggle.com/datasets/tboyle10/medicaltranscriptions"
    obtain: ClassVar[str] = (
        "Download mtsamples.csv from https://www.kaggle.com/datasets/tboyle10/medicaltranscriptions."
    )
    hub: ClassVar[str] = "clinicalnlplab/MTSample_test"
    counts: ClassVar[Mapping[str, int]] = {"train": 3_500, "valid": 500, "test": 999}
    variants: ClassVar[tuple[str, ...]] = ("full", "excerpt")
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """A seeded split, stratified by specialty; reports with the same text are never in two splits."""
        name = raw.one("mtsamples*.csv")
        reports = _reports(raw, name)
        total, other = (EXCERPT, "full") if variant == "excerpt" else (sum(self.counts.values()), "excerpt")
        expect_count(
            f"{name}, reports", len(reports), total, f"give the whole official file (or is it --variant {other}?)"
        )
        return split_examples(
            raw,
            reports,
            labels=[report.target for report in reports],
            # An empty report says nothing that could leak: it is a group of its own.
            groups=[normalised(report.inputs["text"]) or f"empty {report.id}" for report in reports],
            sizes=proportional(self.counts, len(reports)),
            by="specialty",
        )


def _reports(raw: RawFiles, name: str) -> list[Example]:
    rows = csv.DictReader(io.StringIO(raw.text(name), newline=""))
    header = list(rows.fieldnames or [])
    missing = [column for column in COLUMNS if column not in header]
    if missing or not header:
        raise DataError(
            f"{name}: the columns {', '.join(missing)} are missing, found {', '.join(header) or 'none'}; "
            "give the official file with its header line"
        )
    return [_report(row, header[0], f"{name}, record {number}") for number, row in enumerate(rows, 1)]


def _report(row: Mapping[str, str | None], index: str, where: str) -> Example:
    label = (row["medical_specialty"] or "").strip()
    if label not in LABELS:
        raise DataError(f"{where}: {label!r} is not one of the forty specialties; download the file again")
    if row["transcription"] is None:
        raise DataError(f"{where}: the record is cut short; download the file again")
    return Example(row[index] or "", {"text": row["transcription"]}, label)

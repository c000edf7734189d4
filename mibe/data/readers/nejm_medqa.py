"""NEJM-MedQA: cases of MedQA and of the NEJM with their diagnosis, the supplement of Savage et al. 2024."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import csv_records
from mibe.errors import DataError
from mibe.task import Example

SHORTEST = 200
"""Characters of a case: what is shorter is a headline."""


@dataclass(frozen=True)
class Part:
    """One table of the supplement: its file, the columns that a case is made of, and that of the diagnosis."""

    file: str
    case: tuple[str, ...]
    diagnosis: str
    shortest: int = 1


TEST = {
    "MedQA": Part("*41746_2024_1010_MOESM2_ESM.csv", ("question",), "answer"),
    "NEJM": Part("*41746_2024_1010_MOESM3_ESM.csv", ("Title", "Lab Data"), "Answer", SHORTEST),
}
TRAIN = Part("*41746_2024_1010_MOESM4_ESM.csv", ("question",), "answer")

VARIANTS = {"official": ("MedQA", "NEJM"), "medqa": ("MedQA",), "nejm": ("NEJM",)}
"""Variant → the parts of its test split."""


@dataclass(frozen=True)
class NejmMedQa:
    """Every row with a case and a diagnosis is one example; the target is the diagnosis, the only accepted name.

    The tables also hold the answers of GPT-3.5 and GPT-4, their grades and lines with sums: none of it is read. The
    questions of MedQA were made open ones by the authors, and ask for the diagnosis. The train split is their set for
    finding prompts.
    """

    licence: ClassVar[str] = "CC-BY-4.0 (the article); cases of the NEJM are its publisher's"
    homepage: ClassVar[str] = "https://www.nature.com/articles/s41746-024-01010-1"
    obtain: ClassVar[str] = (
        "From the supplementary information of https://www.nature.com/articles/s41746-024-01010-1 download the tables "
        "41746_2024_1010_MOESM2_ESM.csv, MOESM3 and MOESM4 into one folder."
    )
    hub: ClassVar[str | None] = None
    counts: Mapping[str, int] = field(default_factory=dict)
    variants: ClassVar[tuple[str, ...]] = tuple(VARIANTS)
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """Test: the tables that the variant names. Train: the set for finding prompts, where its table is there."""
        test = {part: raw.one(TEST[part].file) for part in VARIANTS[variant]}
        splits = {"test": [each for part, name in test.items() for each in _cases(raw, name, TEST[part], part)]}
        if "MedQA" in test and (name := raw.optional(TRAIN.file)):
            splits["train"] = list(_cases(raw, name, TRAIN, "MedQA"))
        return splits


def _cases(raw: RawFiles, name: str, part: Part, title: str) -> Iterator[Example]:
    left_out = 0
    for number, (_, row) in enumerate(csv_records(name, _text(raw, name), (*part.case, part.diagnosis)), 1):
        case = "\n\n".join(row[column] for column in part.case if row[column])
        diagnosis = row[part.diagnosis].strip("\" '\n")
        if len(case) < part.shortest or not diagnosis:
            left_out += 1
        else:
            yield Example(f"{title.lower()}/{number}", {"case": case}, [diagnosis], metadata={"part": title})
    if left_out:
        raw.notes.append(f"{name}: {left_out:,} rows without a case or without a diagnosis left out")


def _text(raw: RawFiles, name: str) -> str:
    """The tables are what a spreadsheet saved on one of the authors' machines: not UTF-8."""
    content = raw.content(name)
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{name} is neither UTF-8 nor Windows-1252; download it again")

"""MIMIC-CXR (Johnson et al. 2019): findings and impression of chest X-ray reports."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.errors import DataError
from mibe.task import Example

SPLITS = {"train": "train", "validate": "valid", "test": "test"}
COLUMNS = ("study_id", "subject_id", "split")

# Section names that the official code takes for one of the two; misspelt ones ("impresson") are recognised by likeness.
NAMES = {
    "conclusion": "impression",
    "findings and impression": "impression",
    "findings/impression": "impression",
    "findings/ impression": "impression",
    "chest, two views": "findings",
}

_SECTION = re.compile(r"\n ([A-Z ()/,-]+):\s")
_BULLET = re.compile(r"^\s*\d{1,2}[.)]\s+", re.MULTILINE)


@dataclass(frozen=True)
class MimicCxr:
    """One example a report that has both sections: the input is its findings, the target its impression.

    Sections are found as in the official code (https://github.com/MIT-LCP/mimic-cxr, txt/section_parser.py), white
    space is squeezed, and the numbers of a list are taken out of the impression. The splits are the official ones, by
    subject. The paper has 122,014/957/1,606.
    """

    licence: ClassVar[str] = "PhysioNet Credentialed Health Data License 1.5.0"
    homepage: ClassVar[str] = "https://physionet.org/content/mimic-cxr/"
    obtain: ClassVar[str] = (
        "With PhysioNet credentials, put into one folder mimic-cxr-reports.zip "
        "(https://physionet.org/content/mimic-cxr/) and mimic-cxr-2.0.0-split.csv.gz "
        "(https://physionet.org/content/mimic-cxr-jpg/)."
    )
    hub: ClassVar[str] = "clinicalnlplab/MIMIC_SUM_test"
    counts: ClassVar[Mapping[str, int]] = {}
    variants: ClassVar[tuple[str, ...]] = ("official",)
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """Every study of the split file; one whose report lacks a section is left out and counted."""
        reports = {name.rsplit("/", 1)[-1]: name for name in raw.find("p*/p*/s*.txt")}
        if not reports:
            raise raw.missing("files/p10/p10000032/s50414267.txt")
        splits: dict[str, list[Example]] = {split: [] for split in SPLITS.values()}
        dropped: Counter[str] = Counter()
        for study, split in _studies(raw):
            if f"s{study}.txt" not in reports:
                raise DataError(f"the report s{study}.txt is missing; give the whole mimic-cxr-reports.zip")
            example = _report(study, raw.text(reports[f"s{study}.txt"]))
            if example is None:
                dropped[split] += 1
            else:
                splits[split].append(example)
        raw.notes += [f"{split}: {n:,} reports without findings or impression left out" for split, n in dropped.items()]
        return splits


def _studies(raw: RawFiles) -> Iterator[tuple[str, str]]:
    """Each study with its split; the file has a line for each image of a study."""
    name = raw.one("mimic-cxr-2.0.0-split.csv", "mimic-cxr-*split.csv")
    rows = csv.DictReader(line for _, line in raw.lines(name))
    if missing := [column for column in COLUMNS if column not in (rows.fieldnames or ())]:
        raise DataError(f"{name}: the column {missing[0]} is missing; give the official split file")
    studies: dict[str, str] = {}
    subjects: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        study, subject, split = (row[column] for column in COLUMNS)
        if split not in SPLITS:
            raise DataError(f"{name}, line {number}: {split!r} is not train, validate or test; download the file again")
        if studies.setdefault(study, split) != split or subjects.setdefault(subject, split) != split:
            raise DataError(f"{name}, line {number}: subject {subject} is in two splits; give the official split file")
    return ((study, SPLITS[split]) for study, split in studies.items())


def _report(study: str, text: str) -> Example | None:
    found = sections(text.replace("\r\n", "\n"))
    findings = _squeezed(found.get("findings", ""))
    impression = _squeezed(_BULLET.sub("", found.get("impression", "")))
    return Example(f"s{study}", {"findings": findings}, impression) if findings and impression else None


def sections(report: str) -> dict[str, str]:
    """Name → text of the findings and impression of a report; of a section that comes twice, the last.

    A section begins with its name in capitals on a line that is indented by one blank. The first line of a section's
    text is never taken for the beginning of the next one.
    """
    found: dict[str, str] = {}
    heading = _SECTION.search(report)
    while heading:
        line_end = report.find("\n", heading.end())
        following = _SECTION.search(report, max(heading.end(), line_end))
        found[section_name(heading[1])] = report[heading.end() : following.start() if following else len(report)]
        heading = following
    return found


@cache
def section_name(heading: str) -> str:
    """The section that a heading stands for: "findings", "impression", or its own name in lower case."""
    name = heading.strip().lower()
    close = get_close_matches(name, ("impression", "findings"), n=1, cutoff=0.86)
    return NAMES.get(name) or (close[0] if close else name)


def _squeezed(text: str) -> str:
    return " ".join(text.split())

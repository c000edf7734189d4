"""The six instruction tasks on clinical notes of MIMIC-III and MIMIC-IV, joined from the releases' own tables.

A path is the folder of one release: MIMIC-III 1.4 (`NOTEEVENTS.csv.gz`, `DIAGNOSES_ICD.csv.gz`, …), or MIMIC-IV with
MIMIC-IV-Note below it (`note/discharge.csv.gz`, `hosp/diagnoses_icd.csv.gz`, …). Memory is that of the tables joined
with (diagnoses of all admissions: some hundred megabytes for MIMIC-IV), never that of the notes.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from mellama_train.corpus.cleaning import deidentified
from mellama_train.corpus.documents import Broken, Document
from mellama_train.corpus.sources.mimic import read_iv_notes, read_noteevents, table_rows
from mellama_train.errors import DataError
from mellama_train.instructions.items import Item, Items

Table: TypeAlias = Literal["notes", "radiology", "diagnoses", "titles", "admissions"]
NAMES: dict[Table, tuple[str, str]] = {
    "notes": ("noteevents", "discharge"),
    "radiology": ("noteevents", "radiology"),
    "diagnoses": ("diagnoses_icd", "diagnoses_icd"),
    "titles": ("d_icd_diagnoses", "d_icd_diagnoses"),
    "admissions": ("admissions", "admissions"),
}
"""Table → its name in MIMIC-III and in MIMIC-IV."""
COMMON = 500
"""Wrong answers are drawn from this many of the most frequent diseases, or they would be told by their rarity."""
LETTERS = "abcd"
_HEADING = re.compile(r"^[ \t]*(FINDINGS|IMPRESSION|CONCLUSION)S?[ \t]*:", re.MULTILINE | re.IGNORECASE)
_NEXT = re.compile(r"^[ \t]*[A-Z][A-Z /&]{3,}:|^[ \t]*_{5,}|^[ \t]*\(Over\)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Notes:
    """A reader of notes: the tables it needs beside them, and what it makes of them."""

    tables: tuple[Table, ...]
    make: Callable[[Release], Items]

    def files(self, path: Path) -> list[Path]:
        """The tables in the folder of a release. Raises `DataError` for the first that is missing."""
        if not path.is_dir():
            return []
        release = Release.at(path)
        return [release.table(table) for table in self.tables]

    def read(self, files: Sequence[Path]) -> Items:
        """The items of the releases whose tables these are."""
        for start in range(0, len(files), len(self.tables)):
            yield from self.make(Release(dict(zip(self.tables, files[start : start + len(self.tables)], strict=True))))


@dataclass(frozen=True, slots=True)
class Release:
    """The tables of one release of MIMIC."""

    tables: dict[Table, Path]

    @classmethod
    def at(cls, folder: Path) -> Release:
        """Find the tables below a folder. Raises `DataError` when the folder holds two releases, or none."""
        found: dict[str, Path] = {}
        for path in sorted(folder.rglob("*.csv*")):
            found.setdefault(path.name.lower().partition(".csv")[0], path)
        is_third = "noteevents" in found
        if is_third == ("discharge" in found or "radiology" in found):
            what = "both releases; give the folder of each" if is_third else "no notes of MIMIC-III or MIMIC-IV-Note"
            raise DataError(f"{folder} holds {what}")
        return cls(
            {table: found[names[not is_third]] for table, names in NAMES.items() if names[not is_third] in found}
        )

    def table(self, table: Table) -> Path:
        """The file of a table. Raises `DataError` when it is not there."""
        if table not in self.tables:
            raise DataError(
                f"the table {' or '.join(dict.fromkeys(NAMES[table]))}.csv.gz is missing; get it from PhysioNet"
            )
        return self.tables[table]

    def notes(self, table: Literal["notes", "radiology"]) -> Iterator[Document]:
        """The discharge summaries of admissions, or the radiology reports."""
        path = self.table(table)
        is_third = path.name.lower().startswith("noteevents")
        category = "Radiology" if table == "radiology" else "Discharge summary"
        for note in read_noteevents(path) if is_third else read_iv_notes(path):
            if isinstance(note, Broken):
                raise DataError(f"{note.where}: {note.reason}; get the table again")
            if not is_third or note.fields["CATEGORY"] == category:
                yield replace(note, text=deidentified(note.text))

    def diseases(self) -> dict[str, tuple[str, ...]]:
        """Admission → the diseases that were coded for it, in the order of the codes' rank."""
        titles = {_code(row): row["LONG_TITLE"].strip() for row in _rows(self.table("titles"), "LONG_TITLE")}
        found: dict[str, list[tuple[int, str]]] = {}
        for row in _rows(self.table("diagnoses"), "HADM_ID", "SEQ_NUM"):
            if title := titles.get(_code(row)):
                found.setdefault(row["HADM_ID"], []).append((int(row["SEQ_NUM"] or 0), title))
        return {hadm: tuple(dict.fromkeys(title for _, title in sorted(coded))) for hadm, coded in found.items()}

    def died(self) -> dict[str, bool]:
        """Admission → whether the patient died in the hospital."""
        rows = _rows(self.table("admissions"), "HADM_ID", "HOSPITAL_EXPIRE_FLAG")
        return {row["HADM_ID"]: row["HOSPITAL_EXPIRE_FLAG"] == "1" for row in rows}


def impressions(release: Release) -> Items:
    """Findings of a radiology report → its impression."""
    for note in release.notes("radiology"):
        parts = sections(note.text)
        impression = parts.get("IMPRESSION") or parts.get("CONCLUSION") or ""
        yield Item(note.id, {"input": parts.get("FINDINGS", "")}, impression)


def disease_choices(release: Release) -> Items:
    """A discharge summary and four diseases → the letter of the one that was coded."""
    for note, own, others, chance in _coded_notes(release):
        if len(others) < 3:
            continue
        options = [chance.choice(own), *chance.sample(others, 3)]
        right = options[0]
        chance.shuffle(options)
        fields = {"input": note.text, **dict(zip(LETTERS, options, strict=True))}
        yield Item(note.id, fields, LETTERS[options.index(right)].upper())


def disease_lists(release: Release) -> Items:
    """A discharge summary → all diseases that were coded, by semicolons."""
    for note, own, _, _ in _coded_notes(release):
        yield Item(note.id, {"input": note.text}, "; ".join(own))


def disease_statements(release: Release) -> Items:
    """A discharge summary and one to three diseases → True, or (every second time) False: one of them is not its."""
    for note, own, others, chance in _coded_notes(release):
        named = chance.sample(own, min(len(own), chance.randint(1, 3)))
        is_true = chance.random() < 0.5 or not others
        if not is_true:
            named[chance.randrange(len(named))] = chance.choice(others)
        yield Item(note.id, {"input": note.text, "diseases": "; ".join(named)}, str(is_true))


def mortality(release: Release) -> Items:
    """A discharge summary → whether the patient died in the hospital."""
    died = release.died()
    for note in release.notes("notes"):
        hadm = _admission(note)
        if hadm in died:
            yield Item(note.id, {"input": note.text}, "Yes" if died[hadm] else "No")


def sections(report: str) -> dict[str, str]:
    """Heading in capitals → its text, of the findings and the impression of a report."""
    found: dict[str, str] = {}
    for match in _HEADING.finditer(report):
        rest = report[match.end() :]
        end = _NEXT.search(rest)
        text = " ".join((rest[: end.start()] if end else rest).split())
        found.setdefault(match[1].upper(), text)
    return found


def _coded_notes(release: Release) -> Iterator[tuple[Document, Sequence[str], Sequence[str], random.Random]]:
    """(note, its diseases, common diseases that are not its, its own chance) of each note whose stay was coded."""
    diseases = release.diseases()
    counts = Counter(title for titles in diseases.values() for title in titles)
    common = [title for title, _ in counts.most_common(COMMON)]
    for note in release.notes("notes"):
        own = diseases.get(_admission(note), ())
        if own:
            yield note, own, [title for title in common if title not in own], random.Random(note.id)


def _admission(note: Document) -> str:
    # pandas writes a whole number in a column with gaps as 100001.0.
    return note.fields.get("HADM_ID", "").removesuffix(".0")


def _code(row: dict[str, str]) -> tuple[str, str]:
    """(version, code) of ICD; MIMIC-III has version 9 alone."""
    return row.get("ICD_VERSION", "9").strip(), (row.get("ICD_CODE") or row.get("ICD9_CODE") or "").strip()


def _rows(path: Path, *required: str) -> Iterator[dict[str, str]]:
    for row in table_rows(path, required):
        if isinstance(row, Broken):
            raise DataError(f"{row.where}: {row.reason}; get the table again")
        yield row


RADIOLOGY = Notes(("radiology",), impressions)
DISEASE_CHOICE = Notes(("notes", "diagnoses", "titles"), disease_choices)
DISEASE_QA = Notes(("notes", "diagnoses", "titles"), disease_lists)
DISEASE_BINARY = Notes(("notes", "diagnoses", "titles"), disease_statements)
MORTALITY = Notes(("notes", "admissions"), mortality)

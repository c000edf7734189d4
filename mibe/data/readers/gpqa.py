"""GPQA (Rein et al. 2023): questions of experts that searching the web does not answer, here those of biology."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import csv_records, expect_count
from mibe.data.splits import SEED
from mibe.errors import DataError
from mibe.task import Example, letter

QUESTIONS = {"main": 448, "extended": 546, "diamond": 198}
"""Set → its questions of all three domains; each set but `extended` is a part of it, and `diamond` of `main` too."""

ANSWERS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
COLUMNS = ("Record ID", "High-level domain", "Subdomain", "Question", *ANSWERS)
DOMAIN = "Biology"


@dataclass(frozen=True)
class GpqaBiology:
    """The questions of biology of the set that the variant names.

    The tables have the right answer first; the options are put in an order by a hash of seed and question, the same on
    every machine. The train split, for worked examples, is what the extended set has beyond the main one: questions
    that experts agreed on less. With the variant `extended` there is none.
    """

    licence: ClassVar[str] = "CC-BY-4.0"
    homepage: ClassVar[str] = "https://github.com/idavidrein/gpqa"
    obtain: ClassVar[str] = (
        "Download dataset.zip from https://github.com/idavidrein/gpqa and unpack it with the password that its README "
        "gives, or accept the terms at https://huggingface.co/datasets/Idavidrein/gpqa and download its tables "
        "(gpqa_main.csv, gpqa_extended.csv, gpqa_diamond.csv). The authors ask that no question is put online."
    )
    hub: ClassVar[str | None] = None
    counts: Mapping[str, int] = field(default_factory=dict)
    variants: ClassVar[tuple[str, ...]] = tuple(QUESTIONS)
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """Test is the named set; train is there where the tables of the extended and of the main set are."""
        splits = {"test": list(_biology(raw, variant).values())}
        if variant != "extended" and raw.optional(_table("extended")) and raw.optional(_table("main")):
            main = _biology(raw, "main")
            splits["train"] = [each for ident, each in _biology(raw, "extended").items() if ident not in main]
        return splits


def _table(questions: str) -> str:
    return f"gpqa_{questions}.csv"


def _biology(raw: RawFiles, questions: str) -> dict[str, Example]:
    """Record id → question of one of the sets."""
    name = raw.one(_table(questions))
    records = list(csv_records(name, raw.text(name), COLUMNS))
    expect_count(f"{name}, questions", len(records), QUESTIONS[questions], "give the whole official file")
    found: dict[str, Example] = {}
    for where, row in records:
        if row["High-level domain"] == DOMAIN:
            example = _question(row, where)
            if example.id in found:
                raise DataError(f"{where}: the Record ID {example.id} stands there twice; download the file again")
            found[example.id] = example
    return found


def _question(row: Mapping[str, str], where: str) -> Example:
    if empty := [column for column in COLUMNS if not row[column]]:
        raise DataError(f"{where}: {empty[0]} is empty; download the file again")
    ident = row["Record ID"]
    order = sorted(range(len(ANSWERS)), key=lambda i: hashlib.sha256(f"{SEED}\0{ident}\0{i}".encode()).digest())
    choices = tuple(row[ANSWERS[i]] for i in order)
    return Example(
        ident, {"question": row["Question"]}, letter(order.index(0)), choices, {"subdomain": row["Subdomain"]}
    )

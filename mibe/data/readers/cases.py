"""Cases with a diagnosis: one JSON object a line, as the user writes them, or vignettes of MedQA."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import json_lines, text_field
from mibe.data.schema import from_line
from mibe.errors import DataError
from mibe.task import Example


@dataclass(frozen=True)
class DiagnosisCases:
    """Every record `{"id", "case", "diagnosis"}` is one example; the target is the list of accepted names.

    Several accepted names are parted by semicolons. All cases are for testing. The text of a case ends before the
    differential diagnosis is discussed: the reader cannot check that.
    """

    licence: str
    homepage: str
    obtain: str
    counts: Mapping[str, int] = field(default_factory=dict)

    hub: ClassVar[str | None] = None
    variants: ClassVar[tuple[str, ...]] = ("official",)
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """The one file of JSON lines. Fields other than the three are ignored."""
        return {"test": [_case(record, where) for where, record in json_lines(raw, raw.one("*.jsonl", "*.json"))]}


def _case(record: Mapping[str, object], where: str) -> Example:
    ident, case, diagnosis = (text_field(record, key, where).strip() for key in ("id", "case", "diagnosis"))
    names = [name.strip() for name in diagnosis.split(";") if name.strip()]
    if not case or not names:
        raise DataError(f"{where}: case and diagnosis must not be empty")
    return Example(ident, {"case": case}, names)


BUNDLED = "bundled"
"""The variant that is made from the copy of MedQA in the package."""

_ASKED = re.compile(
    r"(?:\A|(?<=[.?!\s\"]))(?:Which of the following|What) (?:is|was) the (?:patient[’']s )?most likely diagnosis"
    r"(?: (?:in|of) this (?:patient|case))?(?: based on [^?.]*)?[?:]\"?\s*\Z"
)
"""A last sentence that asks for the diagnosis of the case, and for nothing about it."""


@dataclass(frozen=True)
class MedQaCases(DiagnosisCases):
    """Vignettes of MedQA's US test set that end by asking for the diagnosis, which is the text of the right option.

    The variant `bundled` finds them in MedQA as the package has it; the case is the question without its last
    sentence, and keeps its id. The variant `official` is a file of cases.
    """

    variants: ClassVar[tuple[str, ...]] = ("official", BUNDLED)

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """The cases, all of them for testing."""
        if variant != BUNDLED:
            return super().read(raw, variant=variant)
        return {"test": list(_vignettes(raw, raw.one("test.jsonl")))}


def _vignettes(raw: RawFiles, name: str) -> Iterator[Example]:
    for number, line in raw.lines(name):
        try:
            question = from_line(line)
            text = question.inputs["question"].strip()
            answer = dict(zip("ABCDE", question.choices, strict=True))[str(question.target)]
        except (ValueError, KeyError):
            raise DataError(f"{name}, line {number}: no question of MedQA with five options") from None
        if asked := _ASKED.search(text):
            yield Example(
                question.id, {"case": text[: asked.start()].strip().removeprefix('"')}, [answer.strip('\n "')]
            )

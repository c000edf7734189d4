"""Cases with a diagnosis, one JSON object a line: the user's own NEJM cases, or the open ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import json_lines, text_field
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

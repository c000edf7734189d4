"""BioNLI (Bastan et al. 2022): whether the conclusion of an abstract follows from the sentences before it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import csv_records
from mibe.errors import DataError
from mibe.task import Example

COLUMNS = ("supp_set", "conclusion", "label_cat")
FILES = {"train": "*train*.csv", "valid": "*dev*.csv", "test": "*test*.csv"}

_MARK = re.compile(r"\s*<(?:re|er|el|le|exp|end)>\s*")


@dataclass(frozen=True)
class BioNli:
    """One example a row: the supporting sentences are the premise, the conclusion is the hypothesis.

    A conclusion as it was written (`label_cat` pos) is entailed; one that was perturbed, in whatever way, contradicts.
    No row is neutral. The marks around the two entities of a conclusion are taken out. The paper has
    5,544/5,000/6,308, of which the last two are parts of the release; sizes here are those of the balanced release.
    """

    licence: ClassVar[str] = "CC-BY-4.0"
    homepage: ClassVar[str] = "https://github.com/StonyBrookNLP/BioNLI"
    obtain: ClassVar[str] = (
        "Download the balanced set linked at https://github.com/StonyBrookNLP/BioNLI, ask its authors there for the "
        "test set, and put both into one folder."
    )
    hub: ClassVar[str] = "clinicalnlplab/BioNLI_test"
    counts: ClassVar[Mapping[str, int]] = {"train": 5_544, "valid": 12_123, "test": 9_126}
    variants: ClassVar[tuple[str, ...]] = ("official",)
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """The test file, and the files of the other splits where they are there."""
        files = {split: raw.optional(pattern) for split, pattern in FILES.items()}
        if files["test"] is None:
            raise raw.missing("test.csv")
        return {split: _rows(raw, split, name) for split, name in files.items() if name is not None}


def _rows(raw: RawFiles, split: str, name: str) -> list[Example]:
    records = csv_records(name, raw.text(name), COLUMNS)
    return [_row(row, f"{split}/{number}", where) for number, (where, row) in enumerate(records)]


def _row(row: Mapping[str, str], ident: str, where: str) -> Example:
    premise, hypothesis, kind = (row[column] for column in COLUMNS)
    if not (premise and hypothesis and kind):
        raise DataError(f"{where}: supp_set, conclusion or label_cat is empty; download the file again")
    inputs = {"premise": without_marks(premise), "hypothesis": without_marks(hypothesis)}
    return Example(ident, inputs, "entailment" if kind == "pos" else "contradiction")


def without_marks(text: str) -> str:
    """The text without the marks of its two entities, `<re> … <er>` and `<el> … <le>`."""
    return _MARK.sub(lambda mark: "" if mark[0].startswith("<") and mark[0].endswith(">") else " ", text).strip()

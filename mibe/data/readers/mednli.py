"""MedNLI (Romanov and Shivade 2018): what clinicians infer from sentences of past medical histories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import json_lines, text_field
from mibe.errors import DataError
from mibe.task import Example

LABELS = ("entailment", "contradiction", "neutral")


@dataclass(frozen=True)
class MedNli:
    """One example a pair of sentences, in the official splits.

    Both versions of the paper print valid 1,422 and test 1,395, the official sizes the other way round; the variant
    `paper` therefore tests on the official dev set.
    """

    licence: ClassVar[str] = "PhysioNet Credentialed Health Data License 1.5.0"
    homepage: ClassVar[str] = "https://physionet.org/content/mednli/"
    obtain: ClassVar[str] = (
        "With PhysioNet credentials, download https://physionet.org/content/mednli/ (mli_train_v1.jsonl, "
        "mli_dev_v1.jsonl, mli_test_v1.jsonl)."
    )
    hub: ClassVar[str] = "clinicalnlplab/MedNLI_test"
    counts: ClassVar[Mapping[str, int]] = {"train": 11_232, "valid": 1_395, "test": 1_422}
    variants: ClassVar[tuple[str, ...]] = ("official", "paper")
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """Pairs that the annotators gave no label (gold_label "-") are left out and counted."""
        valid, test = ("test", "dev") if variant == "paper" else ("dev", "test")
        train = raw.optional("mli_train_v1.jsonl")
        splits = {"train": _pairs(raw, "train", train)} if train else {}
        for split, name in (("valid", valid), ("test", test)):
            splits[split] = _pairs(raw, split, raw.one(f"mli_{name}_v1.jsonl"))
        return splits


def _pairs(raw: RawFiles, split: str, name: str) -> list[Example]:
    examples, unlabelled = [], 0
    for where, record in json_lines(raw, name):
        label = text_field(record, "gold_label", where)
        if label == "-":
            unlabelled += 1
            continue
        if label not in LABELS:
            raise DataError(f"{where}: gold_label is {label!r}, expected one of {', '.join(LABELS)}")
        inputs = {
            "premise": text_field(record, "sentence1", where).strip(),
            "hypothesis": text_field(record, "sentence2", where).strip(),
        }
        examples.append(Example(text_field(record, "pairID", where), inputs, label))
    if unlabelled:
        raw.notes.append(f"{split}: {unlabelled:,} pairs without a label left out")
    return examples

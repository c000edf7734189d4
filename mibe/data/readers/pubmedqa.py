"""PubMedQA (Jin et al. 2019): research questions answered yes, no or maybe from the abstract below them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import expect_count, json_object, list_field, split_examples, text_field
from mibe.data.splits import normalised
from mibe.errors import DataError
from mibe.task import Example

LABELS = ("yes", "no", "maybe")
ARTIFICIAL = 211_269


@dataclass(frozen=True)
class PubMedQa:
    """The 1,000 labelled questions (PQA-L); in the variant `artificial` the 211,269 of PQA-A are for training.

    The inputs are the question and its context: the abstract without its conclusion, whose text (LONG_ANSWER) would
    give the answer away.
    """

    licence: ClassVar[str] = "MIT"
    homepage: ClassVar[str] = "https://pubmedqa.github.io"
    obtain: ClassVar[str] = (
        "Download ori_pqal.json and test_ground_truth.json from https://github.com/pubmedqa/pubmedqa (folder data); "
        "for the variant artificial also ori_pqaa.json."
    )
    hub: ClassVar[str] = "clinicalnlplab/pubmedqa_test"
    counts: ClassVar[Mapping[str, int]] = {"train": 450, "valid": 50, "test": 500}
    variants: ClassVar[tuple[str, ...]] = ("official", "artificial")
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """Test is the official 500; the other labelled ones, or the artificial ones, are split by seed."""
        labelled = _questions(raw, raw.one("ori_pqal.json"), 1000)
        test = [_tested(labelled, *pair) for pair in _ground_truth(raw).items()]
        tested = {example.id for example in test}
        rest = [example for ident, example in labelled.items() if ident not in tested]
        if variant == "artificial":
            rest = list(_questions(raw, raw.one("ori_pqaa.json"), ARTIFICIAL).values())
        valid = len(rest) // 10
        splits = split_examples(
            raw,
            rest,
            labels=[example.target for example in rest],
            groups=[normalised(example.inputs["question"]) for example in rest],
            sizes={"train": len(rest) - valid, "valid": valid},
            by="answer",
        )
        return {**splits, "test": test}


def _ground_truth(raw: RawFiles) -> dict[str, Any]:
    truth = json_object(raw, raw.one("test_ground_truth.json"))
    expect_count("test_ground_truth.json", len(truth), 500, "give the file of the official repository")
    return truth


def _tested(labelled: Mapping[str, Example], ident: str, label: Any) -> Example:
    if ident not in labelled or labelled[ident].target != label:
        found = labelled[ident].target if ident in labelled else "no such question"
        raise DataError(
            f"test_ground_truth.json says {label!r} for {ident}, ori_pqal.json {found!r}; take both from one download"
        )
    return labelled[ident]


def _questions(raw: RawFiles, name: str, count: int) -> dict[str, Example]:
    records = json_object(raw, name)
    expect_count(name, len(records), count, "give the file of the official repository")
    return {ident: _question(ident, record, f"{name}, {ident}") for ident, record in records.items()}


def _question(ident: str, record: Any, where: str) -> Example:
    if not isinstance(record, dict):
        raise DataError(f"{where}: expected a JSON object, found {type(record).__name__}; is this the official file?")
    label = text_field(record, "final_decision", where)
    if label not in LABELS:
        raise DataError(f"{where}: final_decision is {label!r}, expected one of {', '.join(LABELS)}")
    inputs = {
        "question": text_field(record, "QUESTION", where),
        "context": "\n".join(list_field(record, "CONTEXTS", where)),
    }
    return Example(ident, inputs, label)

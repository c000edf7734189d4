"""MedMCQA (Pal et al. 2022): questions of Indian medical entrance examinations with four options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import POOL, json_lines, parquet_rows, split_examples, text_field
from mibe.data.splits import normalised
from mibe.errors import DataError
from mibe.task import Example, letter

OPTIONS = ("opa", "opb", "opc", "opd")
TRAIN = ("train.json", "train-*.parquet")


@dataclass(frozen=True)
class MedMcqa:
    """The official dev set is the test split, since the official test set comes without answers.

    The explanation (`exp`) is left out: it gives the answer away.
    """

    licence: ClassVar[str] = "MIT"
    homepage: ClassVar[str] = "https://medmcqa.github.io"
    obtain: ClassVar[str] = "Download data.zip (train.json, dev.json), linked at https://github.com/medmcqa/medmcqa."
    hub: ClassVar[str] = "clinicalnlplab/medMCQA_test"
    counts: ClassVar[Mapping[str, int]] = {"train": 164_540, "valid": 18_282, "test": 4_183}
    variants: ClassVar[tuple[str, ...]] = ("official", POOL)
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """dev.json → test; train.json, where it is there, → train and valid, 90/10 by subject.

        The hub's copy has them as parquet files. The variant `pool` is train.json alone, all of it train.
        """
        if variant == POOL:
            return {"train": _questions(raw, raw.one(*TRAIN))}
        test = _questions(raw, raw.one("dev.json", "validation-*.parquet"))
        name = raw.optional(*TRAIN)
        if name is None:
            return {"test": test}
        rest = _questions(raw, name)
        valid = len(rest) // 10
        splits = split_examples(
            raw,
            rest,
            labels=[example.metadata["subject"] for example in rest],
            groups=[normalised("\n".join((example.inputs["question"], *example.choices))) for example in rest],
            sizes={"train": len(rest) - valid, "valid": valid},
            by="subject",
        )
        return {**splits, "test": test}


def _questions(raw: RawFiles, name: str) -> list[Example]:
    records = list(parquet_rows(raw, name) if name.endswith(".parquet") else json_lines(raw, name))
    first = first_option((record.get("cop") for _, record in records), name)
    return [_question(record, first, where) for where, record in records]


def first_option(answers: Iterable[Any], name: str) -> int:
    """The number that stands for the first option in a file: 1 in the official files, 0 in some copies.

    Only a 0 or a 4 tells the two apart. Raises `DataError` where neither or both occur, since a guess would shift
    every answer by one.
    """
    numbers = {answer if isinstance(answer, int) else repr(answer) for answer in answers}
    odd = sorted(map(str, numbers - {0, 1, 2, 3, 4}))
    if odd:
        raise DataError(f"{name}: cop must be 1–4 (or 0–3), found {', '.join(odd[:3])}; is this a file with answers?")
    if (0 in numbers) == (4 in numbers):
        which = "both 0 and 4 occur" if 0 in numbers else "neither 0 nor 4 occurs"
        raise DataError(f"{name}: cannot tell whether cop counts from 0 or from 1: {which}; give the official file")
    return 0 if 0 in numbers else 1


def _question(record: dict[str, Any], first: int, where: str) -> Example:
    return Example(
        text_field(record, "id", where),
        {"question": text_field(record, "question", where)},
        letter(record["cop"] - first),
        tuple(text_field(record, option, where) for option in OPTIONS),
        {"subject": text_field(record, "subject_name", where)},
    )

"""MedQA (Jin et al. 2020): questions of the US Medical Licensing Examination with five options, or with four."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import POOL, json_lines, text_field
from mibe.errors import DataError
from mibe.task import Example, letter

OFFICIAL_SPLITS = {"train": "train", "dev": "valid", "test": "test"}

# Where the questions of a split lie: in the official archive, in copies of parts of it, and by bare name.
FILES = {
    5: ("questions/US/{}.jsonl", "US/{}.jsonl", "US_{}_5options.jsonl"),
    4: (
        "US/4_options/phrases_no_exclude_{}.jsonl",
        "4_options/phrases_no_exclude_{}.jsonl",
        "phrases_no_exclude_{}.jsonl",
        "US_4options_phrases_no_exclude_{}.jsonl",
    ),
}


@dataclass(frozen=True)
class MedQa:
    """The US questions; never those of Mainland China or Taiwan that lie in the same archive."""

    options: int = 5

    licence: ClassVar[str] = "MIT"
    homepage: ClassVar[str] = "https://github.com/jind11/MedQA"
    obtain: ClassVar[str] = "Download data_clean.zip, linked in the README of https://github.com/jind11/MedQA."
    counts: ClassVar[Mapping[str, int]] = {"train": 10_178, "valid": 1_272, "test": 1_273}
    variants: ClassVar[tuple[str, ...]] = ("official", POOL)
    version: ClassVar[int] = 1

    @property
    def hub(self) -> str | None:
        """The repository with the prepared test set; there is none with four options."""
        return "clinicalnlplab/medQA_test" if self.options == 5 else None

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """The official splits. Test must be there; train and dev may be missing. The variant `pool` is train alone."""
        wanted = ("train",) if variant == POOL else tuple(OFFICIAL_SPLITS)
        found = {official: self._file(raw, official) for official in wanted}
        if found[wanted[-1]] is None:
            raise raw.missing(FILES[self.options][0].format(wanted[-1]))
        return {
            split: [
                self._question(f"{split}/{index}", record, where)
                for index, (where, record) in enumerate(json_lines(raw, name))
            ]
            for official, split in OFFICIAL_SPLITS.items()
            if (name := found.get(official)) is not None
        }

    def _file(self, raw: RawFiles, official: str) -> str | None:
        for pattern in FILES[self.options]:
            names = [n for n in raw.find(pattern.format(official)) if not {"Mainland", "Taiwan"} & set(_parts(n))]
            if len(names) > 1:
                raise DataError(f"several files are the {official} split: {', '.join(names)}; leave one")
            if names:
                return names[0]
        bare = f"{official}.jsonl"
        return bare if bare in raw.find(bare) else None

    def _question(self, ident: str, record: dict[str, Any], where: str) -> Example:
        options = record.get("options")
        letters = [letter(i) for i in range(self.options)]
        if not isinstance(options, dict) or sorted(options) != letters:
            found = ", ".join(sorted(map(str, options))) if isinstance(options, dict) else repr(options)[:60]
            other = "medqa_4" if self.options == 5 else "medqa"
            raise DataError(
                f"{where}: expected the options {', '.join(letters)}, found {found}; if that is the other form of the "
                f"data, prepare {other}"
            )
        choices = tuple(text_field(options, each, where) for each in letters)
        target = text_field(record, "answer_idx", where)
        if options.get(target) != record.get("answer"):
            raise DataError(f"{where}: answer_idx {target!r} does not name the answer {record.get('answer')!r:.60}")
        return Example(ident, {"question": text_field(record, "question", where)}, target, choices)


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(name).parts

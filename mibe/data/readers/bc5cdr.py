"""BC5CDR (Li et al. 2016): diseases and chemicals in the sentences of PubMed abstracts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.errors import DataError
from mibe.task import Example

TYPES = {"Disease": "problem", "Chemical": "treatment"}
SPLITS = {"train": "train", "devel": "valid", "test": "test"}


@dataclass(frozen=True)
class Bc5cdr:
    """An open set in the form of `i2b2`: one example a sentence, the target a list of [type, start, end].

    Diseases are problems and chemicals treatments. The sentences are in the order of their abstracts, tokens parted by
    one space.
    """

    licence: ClassVar[str] = "CC-BY-4.0"
    homepage: ClassVar[str] = "https://github.com/cambridgeltl/MTL-Bioinformatics-2016"
    obtain: ClassVar[str] = (
        "Download https://github.com/cambridgeltl/MTL-Bioinformatics-2016 and give its folder data/BC5CDR-IOB "
        "(train.tsv, devel.tsv, test.tsv)."
    )
    hub: ClassVar[str | None] = None
    counts: ClassVar[Mapping[str, int]] = {"train": 4_560, "valid": 4_581, "test": 4_797}
    variants: ClassVar[tuple[str, ...]] = ("official",)
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """One sentence a block of lines, one token and its tag (B-, I- or O) a line."""
        return {
            split: [
                _example(f"{split}/{index}", rows)
                for index, rows in enumerate(_blocks(raw, raw.one(f"BC5CDR-IOB/{name}.tsv", f"{name}.tsv")))
            ]
            for name, split in SPLITS.items()
        }


Row = tuple[str, str]
"""A token and its tag."""


def _blocks(raw: RawFiles, name: str) -> Iterator[list[Row]]:
    block: list[Row] = []
    for number, line in raw.lines(name):
        if not line.strip():
            if block:
                yield block
            block = []
            continue
        token, _, tag = line.partition("\t")
        kind, previous = tag[2:], block[-1][1] if block else "O"
        if tag != "O" and (tag[:2] not in ("B-", "I-") or kind not in TYPES):
            raise DataError(f"{name}, line {number}: {tag!r} is not a tag of BC5CDR; download the file again")
        if tag.startswith("I-") and previous[2:] != kind:
            raise DataError(f"{name}, line {number}: {tag} follows {previous}; download the file again")
        block.append((token, tag))
    if block:
        yield block


def _example(ident: str, rows: Sequence[Row]) -> Example:
    entities: list[list[str | int]] = []
    position = 0
    for token, tag in rows:
        if tag.startswith("B-"):
            entities.append([TYPES[tag[2:]], position, position])
        if tag != "O":
            entities[-1][2] = position + len(token)
        position += len(token) + 1
    return Example(ident, {"text": " ".join(token for token, _ in rows)}, entities)

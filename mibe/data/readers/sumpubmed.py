"""SumPubMed (Gupta et al. 2021): articles of BioMed Central and their abstracts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import expect_count, json_lines, split_examples, text_field
from mibe.data.splits import normalised, proportional
from mibe.errors import DataError
from mibe.task import Example

SHARES = {"train": 90, "valid": 5, "test": 5}
SAMPLE = {"train": 250, "valid": 50, "test": 100}
"""Sizes of the variant `sample`."""


@dataclass(frozen=True)
class SumPubMed:
    """An open set in the form of `pubmedsum`: one example an article, the target its abstract with its headings.

    The release has no split, so one is made by seed, 90/5/5. The variant `sample` reads 400 articles of it that were
    drawn and split before (train.jsonl, val.jsonl, test.jsonl).
    """

    licence: ClassVar[str] = "MIT, for non-commercial academic purpose; texts of BioMed Central open access"
    homepage: ClassVar[str] = "https://github.com/vgupta123/sumpubmed"
    obtain: ClassVar[str] = (
        "Download https://github.com/vgupta123/sumpubmed as a zip file (its folders text and abstract are read)."
    )
    hub: ClassVar[str | None] = None
    counts: ClassVar[Mapping[str, int]] = {}
    variants: ClassVar[tuple[str, ...]] = ("official", "sample")
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """text/text_N.txt and abstract/abstract_N.txt belong together."""
        return _sample(raw) if variant == "sample" else _official(raw)


def _official(raw: RawFiles) -> dict[str, list[Example]]:
    texts, abstracts = _by_number(raw, "text"), _by_number(raw, "abstract")
    if texts.keys() != abstracts.keys():
        odd = sorted(texts.keys() ^ abstracts.keys())[0]
        raise DataError(f"{odd} has no text or no abstract; download the whole repository")
    found = [_article(number, raw.text(texts[number]), raw.text(abstracts[number])) for number in sorted(texts)]
    articles = [article for article in found if article.inputs["text"] and article.target]
    if left_out := len(found) - len(articles):
        raw.notes.append(f"{left_out:,} articles without text or abstract left out")
    return split_examples(
        raw,
        articles,
        labels=["" for _ in articles],
        groups=[normalised(article.inputs["text"]) for article in articles],
        sizes=proportional(SHARES, len(articles)),
        by="nothing",
    )


def _by_number(raw: RawFiles, folder: str) -> dict[str, str]:
    names = raw.find(f"{folder}/{folder}_*.txt")
    if not names:
        raise raw.missing(f"{folder}/{folder}_1.txt")
    return {PurePosixPath(name).stem.removeprefix(f"{folder}_"): name for name in names}


def _sample(raw: RawFiles) -> dict[str, list[Example]]:
    files = {"train": "train.jsonl", "valid": "val.jsonl", "test": "test.jsonl"}
    splits = {
        split: [
            _article(str(record.get("id")), text_field(record, "text", where), text_field(record, "abstract", where))
            for where, record in json_lines(raw, raw.one(name))
        ]
        for split, name in files.items()
    }
    for split, expected in SAMPLE.items():
        expect_count(f"the sample's {split} split", len(splits[split]), expected, "give the files of the sample")
    return splits


def _article(ident: str, text: str, abstract: str) -> Example:
    return Example(ident, {"text": _lines(text)}, _lines(abstract))


def _lines(text: str) -> str:
    """The text without blank lines and white space around lines."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())

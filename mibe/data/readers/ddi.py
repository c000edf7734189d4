"""DDI 2013 (Herrero-Zazo et al. 2013): interactions between two drugs in sentences of DrugBank and MEDLINE."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import expect_count
from mibe.errors import DataError
from mibe.task import Example

LABELS = ("DDI-effect", "DDI-mechanism", "DDI-advise", "DDI-int", "DDI-false")
TRAIN, TEST = "Train/*/*.xml", "Test for DDI Extraction task/*/*.xml"

# BLURB's file lists: split of the list → our split, and the number of pairs that BLURB gives for it.
BLURB = {"train": ("train", 25_296), "dev": ("valid", 2_496), "test": ("test", 5_716)}

Span = tuple[int, int]


@dataclass(frozen=True)
class DdiCorpus:
    """One example a pair of drugs; in the variant `blurb` the training set is divided by BLURB's file lists.

    The one pair that is marked as an interaction without a type (DDI-DrugBank.d236.s29.p0) is DDI-int, "an interaction
    with no further information", as in the usual statistics of the corpus (189 int in train).
    """

    licence: ClassVar[str] = "CC-BY-NC-4.0"
    homepage: ClassVar[str] = "https://github.com/isegura/DDICorpus"
    obtain: ClassVar[str] = (
        "Download DDICorpus-2013.zip from https://github.com/isegura/DDICorpus; for the variant blurb put it in one "
        "folder with train_files.tsv, dev_files.tsv and test_files.tsv of BLURB's data_generation.tar.gz "
        "(https://microsoft.github.io/BLURB; folder indexing/DDI)."
    )
    hub: ClassVar[str] = "clinicalnlplab/DDI2013_test"
    counts: ClassVar[Mapping[str, int]] = {"train": 27_792, "test": 5_716}
    variants: ClassVar[tuple[str, ...]] = ("official", "blurb")
    version: ClassVar[int] = 2

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """All pairs of the official training set and of the test set for DDI extraction (not that for DrugNER)."""
        train, test = raw.find(TRAIN), raw.find(TEST)
        if not train or not test:
            raise raw.missing(f"DDICorpus/{TEST if train else TRAIN}")
        if variant == "official":
            return {"train": _all_pairs(raw, train), "test": _all_pairs(raw, test)}
        files = {_key(name): name for name in (*train, *test)}
        splits = {}
        for listed, (split, expected) in BLURB.items():
            splits[split] = _all_pairs(raw, _listed(raw, listed, files))
            expect_count(f"BLURB's {split} split", len(splits[split]), expected, "give BLURB's own lists")
        return splits


def _listed(raw: RawFiles, listed: str, files: Mapping[str, str]) -> list[str]:
    name = raw.one(f"blurb_split_{listed}_files.tsv", f"{listed}_files.tsv")
    keys = [_key(line.strip()) for _, line in raw.lines(name) if line.strip()]
    unknown = [key for key in keys if key not in files]
    if unknown:
        raise DataError(f"{name} names {unknown[0]}, which is not in the corpus; give the whole DDICorpus-2013.zip")
    return [files[key] for key in keys]


def _key(path: str) -> str:
    # "train_dataset/MedLine/1.xml" in a list is "DDICorpus/Train/MedLine/1.xml" in the corpus.
    kind = "test" if "test" in path.lower().split("/")[-3] else "train"
    return "/".join((kind, *PurePosixPath(path).parts[-2:]))


def _all_pairs(raw: RawFiles, names: list[str]) -> list[Example]:
    return [pair for name in names for pair in _pairs(raw.content(name), name)]


def _pairs(content: bytes, name: str) -> list[Example]:
    try:
        return [pair for sentence in ET.fromstring(content).iter("sentence") for pair in _of_sentence(sentence)]
    except ET.ParseError as error:
        raise DataError(f"{name}: not XML ({error}); download the corpus again") from None
    except (KeyError, ValueError) as error:
        raise DataError(f"{name}: {error.args[0]!r} is missing or not as expected; download the corpus again") from None


def _of_sentence(sentence: ET.Element) -> list[Example]:
    text = sentence.attrib["text"]
    spans = {entity.attrib["id"]: envelope(entity.attrib["charOffset"]) for entity in sentence.iter("entity")}
    return [
        Example(
            pair.attrib["id"],
            {"text": mark_drugs(text, spans[pair.attrib["e1"]], spans[pair.attrib["e2"]])},
            _label(pair),
            source=text,
        )
        for pair in sentence.iter("pair")
    ]


def _label(pair: ET.Element) -> str:
    label = f"DDI-{pair.get('type', 'int')}" if pair.attrib["ddi"] == "true" else "DDI-false"
    if label not in LABELS:
        raise ValueError(label)
    return label


def envelope(offsets: str) -> Span:
    """The span, end exclusive, from the first to the last character of an entity.

    In the corpus the end is inclusive and some entities have several parts ("59-65;75-78", for "nonheme" and "iron" in
    "nonheme or heme iron"). As in BLURB, what stands between the parts belongs to the span; BLUE's span is the first
    part alone (`create_ddi_bert.py`).
    """
    if not re.fullmatch(r"\d+-\d+(;\d+-\d+)*", offsets):
        raise ValueError(offsets)
    parts = [tuple(map(int, part.split("-"))) for part in offsets.split(";")]
    return min(start for start, _ in parts), max(end for _, end in parts) + 1


def mark_drugs(text: str, first: Span, second: Span) -> str:
    """The sentence with both drugs replaced by @DRUG$; where their spans overlap, one @DRUG-DRUG$ stands for both.

    The form is that of BLUE and BLURB.
    """
    (start, end), (next_start, next_end) = sorted((first, second))
    if next_start < end:
        return f"{text[:start]}@DRUG-DRUG${text[max(end, next_end) :]}"
    return f"{text[:start]}@DRUG${text[end:next_start]}@DRUG${text[next_end:]}"

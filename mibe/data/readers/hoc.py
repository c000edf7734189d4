"""Hallmarks of Cancer (Baker et al. 2016): abstracts with those of ten hallmarks that they are about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import expect_count, split_examples
from mibe.data.splits import normalised
from mibe.errors import DataError
from mibe.task import Example

LABELS = (
    "sustaining proliferative signaling",
    "evading growth suppressors",
    "resisting cell death",
    "enabling replicative immortality",
    "inducing angiogenesis",
    "activating invasion and metastasis",
    "genomic instability and mutation",
    "tumor promoting inflammation",
    "cellular energetics",
    "avoiding immune destruction",
)
"""The ten hallmarks, in the order of the paper's prompt."""

DOCUMENTS, LABELLED = 1_852, 1_580

# BLURB's lists: split of the list → our split, and its number of documents.
BLURB = {"train": ("train", 1_295), "dev": ("valid", 186), "test": ("test", 371)}


@dataclass(frozen=True)
class HallmarksOfCancer:
    """The 1,580 abstracts with a hallmark, as in the paper; in the variant `blurb` all 1,852, by BLURB's lists.

    The target is the list of the hallmarks of all sentences, in the order of `LABELS`; in the variant `blurb` it may be
    empty. The paper gives the sizes of its splits and not their members: here they are drawn by a seed, stratified by
    the rarest hallmark of each abstract.
    """

    licence: ClassVar[str] = "GPL-3.0"
    homepage: ClassVar[str] = "https://github.com/sb895/Hallmarks-of-Cancer"
    obtain: ClassVar[str] = (
        "Download https://github.com/sb895/Hallmarks-of-Cancer as a zip file; for the variant blurb put it in one "
        "folder with train_pmid.tsv, dev_pmid.tsv and test_pmid.tsv of BLURB's data_generation.tar.gz "
        "(https://microsoft.github.io/BLURB; folder indexing/HoC)."
    )
    hub: ClassVar[str] = "clinicalnlplab/HoC_test"
    counts: ClassVar[Mapping[str, int]] = {"train": 1_108, "valid": 157, "test": 315}
    variants: ClassVar[tuple[str, ...]] = ("labelled", "blurb")
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """Text and labels are matched by PubMed id; the number of sentences of the two may differ in an abstract."""
        texts, labels = _by_pmid(raw, "text/*.txt"), _by_pmid(raw, "labels/*.txt")
        expect_count("abstracts", len(texts), DOCUMENTS, "download the whole repository")
        if texts.keys() != labels.keys():
            odd = sorted(texts.keys() ^ labels.keys())[0]
            raise DataError(f"{odd} has no text or no labels; download the whole repository")
        abstracts = {pmid: _abstract(raw, pmid, texts[pmid], labels[pmid]) for pmid in sorted(texts)}
        if variant == "blurb":
            return _by_lists(raw, abstracts)
        labelled = [abstract for abstract in abstracts.values() if abstract.target]
        expect_count("abstracts with a hallmark", len(labelled), LABELLED, "download the whole repository")
        frequency = Counter(label for abstract in labelled for label in abstract.target)
        return split_examples(
            raw,
            labelled,
            labels=[min(abstract.target, key=lambda label: (frequency[label], label)) for abstract in labelled],
            groups=[normalised(abstract.inputs["text"]) for abstract in labelled],
            sizes=self.counts,
            by="the rarest hallmark of each abstract",
        )


def hallmarks(content: str) -> list[str]:
    """The hallmarks in a label file, in the order of `LABELS`.

    A piece after each `<` is for one sentence; its labels are joined by AND, the levels of a label by `--`, of which
    the first is the hallmark. Raises ValueError, holding the label, for one that is not among the ten.
    """
    found = {
        label.split("--")[0].strip().lower() for piece in content.split("<")[1:] for label in piece.split("AND")
    } - {"", "null"}
    if unknown := sorted(found - set(LABELS)):
        raise ValueError(unknown[0])
    return [label for label in LABELS if label in found]


def _abstract(raw: RawFiles, pmid: str, text: str, labels: str) -> Example:
    try:
        target = hallmarks(raw.text(labels))
    except ValueError as error:
        raise DataError(f"{labels}: {error.args[0]!r} is not one of the ten hallmarks; download it again") from None
    return Example(pmid, {"text": " ".join(raw.text(text).split("\n")).strip()}, target)


def _by_pmid(raw: RawFiles, pattern: str) -> dict[str, str]:
    names = raw.find(pattern)
    if not names:
        raise raw.missing(pattern)
    return {PurePosixPath(name).stem: name for name in names}


def _by_lists(raw: RawFiles, abstracts: Mapping[str, Example]) -> dict[str, list[Example]]:
    splits = {}
    for listed, (split, expected) in BLURB.items():
        name = raw.one(f"blurb_split_{listed}_pmid.tsv", f"{listed}_pmid.tsv")
        pmids = [PurePosixPath(file.strip()).stem for file in raw.text(name).split(",")]
        unknown = [pmid for pmid in pmids if pmid not in abstracts]
        if unknown:
            raise DataError(f"{name} names {unknown[0]!r}, which is not in the corpus; give BLURB's own list")
        expect_count(f"BLURB's {split} split", len(pmids), expected, "give BLURB's own lists")
        splits[split] = [abstracts[pmid] for pmid in pmids]
    return splits

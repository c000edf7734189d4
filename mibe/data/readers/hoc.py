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

SPLITS = {"train": "train", "dev": "valid", "test": "test"}
"""Split as the lists of BLUE and BLURB call it → ours."""

SIZES = {
    "blurb": {"train": 1_295, "valid": 186, "test": 371},
    "blue": {"train": 1_108, "valid": 157, "test": 315},
}
"""Variant → the number of abstracts that its lists have."""

LISTS = {"blurb": ("blurb_split_{}_pmid.tsv", "{}_pmid.tsv"), "blue": ("{}_docid.txt",)}
"""Variant → names of a list, of which the first that is there counts."""


@dataclass(frozen=True)
class HallmarksOfCancer:
    """The 1,580 abstracts with a hallmark, as in the paper; in the variant `blurb` all 1,852, by BLURB's lists.

    The target is the list of the hallmarks of all sentences, in the order of `LABELS`; in the variant `blurb` it may be
    empty. The paper gives the sizes of its splits, which are BLUE's, and not their members: here they are drawn by a
    seed, stratified by the rarest hallmark of each abstract, or taken from BLUE's lists in the variant `blue`.
    """

    licence: ClassVar[str] = "GPL-3.0"
    homepage: ClassVar[str] = "https://github.com/sb895/Hallmarks-of-Cancer"
    obtain: ClassVar[str] = (
        "Download https://github.com/sb895/Hallmarks-of-Cancer as a zip file; for the variant blurb put it in one "
        "folder with train_pmid.tsv, dev_pmid.tsv and test_pmid.tsv of BLURB's data_generation.tar.gz "
        "(https://microsoft.github.io/BLURB; folder indexing/HoC), for the variant blue with train_docid.txt, "
        "dev_docid.txt and test_docid.txt of the data of BLUE (https://github.com/ncbi-nlp/BLUE_Benchmark)."
    )
    hub: ClassVar[str] = "clinicalnlplab/HoC_test"
    counts: ClassVar[Mapping[str, int]] = {"train": 1_108, "valid": 157, "test": 315}
    variants: ClassVar[tuple[str, ...]] = ("labelled", "blurb", "blue")
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """Text and labels are matched by PubMed id; the number of sentences of the two may differ in an abstract."""
        texts, labels = _by_pmid(raw, "text/*.txt"), _by_pmid(raw, "labels/*.txt")
        expect_count("abstracts", len(texts), DOCUMENTS, "download the whole repository")
        if texts.keys() != labels.keys():
            odd = sorted(texts.keys() ^ labels.keys())[0]
            raise DataError(f"{odd} has no text or no labels; download the whole repository")
        abstracts = {pmid: _abstract(raw, pmid, texts[pmid], labels[pmid]) for pmid in sorted(texts)}
        if variant in SIZES:
            return _by_lists(raw, abstracts, variant)
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


def _by_lists(raw: RawFiles, abstracts: Mapping[str, Example], variant: str) -> dict[str, list[Example]]:
    """The splits by the lists of a benchmark: PubMed ids or names of files, by commas (BLURB) or a line each (BLUE)."""
    title, splits = variant.upper(), {}
    for listed, split in SPLITS.items():
        name = raw.one(*(pattern.format(listed) for pattern in LISTS[variant]))
        pmids = [PurePosixPath(file).stem for file in raw.text(name).replace(",", " ").split()]
        unknown = [pmid for pmid in pmids if pmid not in abstracts]
        if unknown:
            raise DataError(f"{name} names {unknown[0]!r}, which is not in the corpus; give {title}'s own list")
        expect_count(f"{title}'s {split} split", len(pmids), SIZES[variant][split], f"give {title}'s own lists")
        splits[split] = [abstracts[pmid] for pmid in pmids]
    return splits

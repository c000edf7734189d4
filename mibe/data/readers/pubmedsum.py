"""PubMed summarization (Cohan et al. 2018): biomedical articles and their abstracts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import json_lines, list_field, text_field
from mibe.task import Example


@dataclass(frozen=True)
class PubMedSum:
    """One example an article with an abstract; the target is the abstract, one sentence a line.

    Articles without text, or without an abstract, are left out. The paper has 117,108/6,631/6,658, its first
    version with the last two swapped.
    """

    licence: ClassVar[str] = "PubMed Central open access subset"
    homepage: ClassVar[str] = "https://github.com/armancohan/long-summarization"
    obtain: ClassVar[str] = (
        "Download pubmed-dataset.zip (train.txt, val.txt, test.txt), linked at "
        "https://github.com/armancohan/long-summarization."
    )
    hub: ClassVar[str] = "clinicalnlplab/PubmedSumm_test"
    counts: ClassVar[Mapping[str, int]] = {"test": 6_658}
    variants: ClassVar[tuple[str, ...]] = ("official",)
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """test.txt, and train.txt and val.txt where they are there."""
        files = {"train": raw.optional("train.txt"), "valid": raw.optional("val.txt"), "test": raw.one("test.txt")}
        return {split: _articles(raw, split, name) for split, name in files.items() if name is not None}


def _articles(raw: RawFiles, split: str, name: str) -> list[Example]:
    examples, dropped = [], 0
    for where, record in json_lines(raw, name):
        text = _joined(list_field(record, "article_text", where))
        abstract = _joined([unwrapped(sentence) for sentence in list_field(record, "abstract_text", where)])
        if text and abstract:
            examples.append(Example(text_field(record, "article_id", where), {"text": text}, abstract))
        else:
            dropped += 1
    if dropped:
        raw.notes.append(f"{split}: {dropped:,} articles without text or abstract left out")
    return examples


def unwrapped(sentence: str) -> str:
    """A sentence of an abstract without the marks `<S> … </S>` around it."""
    return sentence.replace("<S>", "").replace("</S>", "")


def _joined(sentences: list[str]) -> str:
    return "\n".join(stripped for sentence in sentences if (stripped := sentence.strip()))

"""What a source yields: documents, and the places where it could not read one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a source. `id` is the source's own (a PMID, a note's row) or file and line.

    `fields` holds what an input's `where` may choose by (a subset of the Pile, the category of a note).
    """

    id: str
    text: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Broken:
    """A place that holds no readable document: where it is, and what is wrong with it."""

    where: str
    reason: str


Documents: TypeAlias = Iterator[Document | Broken]

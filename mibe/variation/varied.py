"""A document as one variant shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Protocol, TypeAlias

from mibe.task import Example, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied(Example):
    """A document in one of its versions.

    `document` is the one it was made of, `stands` is way → which of the way's values it shows: a variant shows one, the
    document itself one for each way that it was varied in. `order` has, where the order of options varies, the letter
    that each of them has in the document, so that "BCDA" shows the second option as A; options of one text share the
    letter of the first.
    """

    document: Example
    stands: Mapping[str, str]
    order: str = ""

    def said(self) -> dict[str, Any]:
        """What a line of the sample log says of it; `mibe.run.variants` reads it."""
        return {"of": self.document.id, "stands": dict(self.stands), **({"order": self.order} if self.order else {})}


def document_of(example: Example) -> Example:
    """The document that an example is a version of: itself, unless it is a variant."""
    return example.document if isinstance(example, Varied) else example


class Version(NamedTuple):
    """One version of a document: the example, and the order of its options where that is another."""

    example: Example
    order: str = ""


@dataclass(frozen=True, slots=True)
class Versions:
    """What a way makes of one document: value → version.

    `itself` is the value that the document shows as it is, None where it shows none of them; `order` is that of its
    options where the others have theirs.
    """

    itself: str | None
    others: Mapping[str, Version] = field(default_factory=dict)
    order: str = ""


class Refused(str):
    """Why a document is left as it is: what a way would change there is what the question is about."""

    __slots__ = ()


Made: TypeAlias = Versions | Refused


class Way(Protocol):
    """One way to vary documents."""

    @property
    def name(self) -> str:
        """As `--vary` names it."""
        ...

    def of(self, example: Example) -> Made:
        """The versions of one document, or why there are none."""
        ...


class WayMaker(Protocol):
    """Makes the way of a task. Raises `UsageError` for a task whose documents cannot be varied in it."""

    def __call__(self, task: Task, count: int | None, seed: int) -> Way:
        """`count` is the number of versions asked for, None for the way's own."""
        ...


def variant(document: Example, way: str, value: str, version: Version) -> Varied:
    """A variant as an example of its own."""
    own = {each.name: getattr(version.example, each.name) for each in fields(Example)}
    return Varied(
        **own | {"id": f"{document.id}~{way}-{value}"}, document=document, stands={way: value}, order=version.order
    )


def itself(document: Example, stands: Mapping[str, str], order: str = "") -> Varied:
    """The document as the version that it is of each way."""
    own = {each.name: getattr(document, each.name) for each in fields(Example)}
    return Varied(**own, document=document, stands=stands, order=order)

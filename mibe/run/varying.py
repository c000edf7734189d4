"""The documents and prompts of a run that varies its documents (`--vary`, `mibe.variation`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from mibe.errors import DataError
from mibe.prompting import PromptBuilder, Rendered
from mibe.run.documents import Documents
from mibe.task import Example
from mibe.variation import Variation, document_of


@dataclass(frozen=True)
class VariedDocuments:
    """The selected documents of a task in all their versions, those of one document side by side, itself first.

    Every document is asked as it is, so that the figures of the documents are those of a run that varies none; what
    every way refuses is asked so alone. `count` counts samples, `chosen` the documents; `refused` is way → reason →
    documents.
    """

    chosen: Documents
    variation: Variation
    count: int
    refused: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, chosen: Documents, variation: Variation, *, is_shard: bool = False) -> VariedDocuments:
        """Look at every chosen document once. Raises `DataError` where none can be varied, and they are no shard."""
        reasons: Counter[tuple[str, str]] = Counter()
        count = sum(1 for document in chosen for _ in variation.of(document, reasons))
        refused: dict[str, dict[str, int]] = {}
        for (way, reason), times in reasons.most_common():
            refused.setdefault(way, {})[reason] = times
        if count == chosen.count and not is_shard:
            why = "; ".join(f"{way}: {reason}" for way, reason in reasons)
            raise DataError(f"{chosen.task.name}: none of the documents can be varied ({why}); leave --vary out for it")
        return cls(chosen, variation, count, refused)

    @property
    def split(self) -> str:
        """The split that the documents are of."""
        return self.chosen.split

    @property
    def total(self) -> int:
        """The documents of the split."""
        return self.chosen.total

    def __iter__(self) -> Iterator[Example]:
        return chain.from_iterable(map(self.variation.of, self.chosen))


@dataclass(frozen=True)
class VariedPrompts:
    """Builds the prompts of documents in other words or after other examples; what `PromptBuilder` is to the others.

    `builders` is (wording, draw of worked examples) → builder.
    """

    variation: Variation
    builders: Mapping[tuple[str, int], PromptBuilder]

    @property
    def is_chat(self) -> bool:
        """Whether the prompts are chat turns."""
        return next(iter(self.builders.values())).is_chat

    def shots_for(self, example: Example) -> tuple[Example, ...]:
        """The worked examples before this version of a document."""
        return self._builder(example).shots_for(_by_its_document(example))

    def build(self, example: Example) -> Rendered:
        """The prompt of one version of a document."""
        return self._builder(example).build(_by_its_document(example))

    def _builder(self, example: Example) -> PromptBuilder:
        return self.builders[self.variation.asked_as(example)]


def _by_its_document(example: Example) -> Example:
    """The version under the id of its document, by which worked examples are chosen where each has its own."""
    return replace(example, id=document_of(example).id)

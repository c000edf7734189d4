"""The documents and prompts of a run that varies its documents (`--vary`, `mibe.variation`)."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mibe.errors import DataError
from mibe.prompting import PromptBuilder, Rendered
from mibe.run.documents import Documents
from mibe.task import Example
from mibe.variation import Variation, draw_of_shots


@dataclass(frozen=True)
class VariedDocuments:
    """The selected documents of a task in all their versions, those of one document side by side.

    `count` counts versions, `kept` the documents that have any. Those that every way refuses are no part of the run;
    `refused` is way → reason → documents.
    """

    chosen: Documents
    variation: Variation
    places: array[int]
    """Where the kept documents stand among the chosen ones, ascending."""
    count: int
    refused: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, chosen: Documents, variation: Variation) -> VariedDocuments:
        """Look at every chosen document once. Raises `DataError` where none can be varied."""
        reasons: Counter[tuple[str, str]] = Counter()
        places, count = array("Q"), 0
        for place, document in enumerate(chosen):
            versions = sum(1 for _ in variation.of(document, reasons))
            if versions:
                places.append(place)
                count += versions
        refused: dict[str, dict[str, int]] = {}
        for (way, reason), times in reasons.most_common():
            refused.setdefault(way, {})[reason] = times
        if not count:
            why = "; ".join(f"{way}: {reason}" for way, reason in reasons)
            raise DataError(f"{chosen.task.name}: none of the documents can be varied ({why}); leave --vary out for it")
        return cls(chosen, variation, places, count, refused)

    @property
    def split(self) -> str:
        """The split that the documents are of."""
        return self.chosen.split

    @property
    def total(self) -> int:
        """The documents of the split."""
        return self.chosen.total

    @property
    def kept(self) -> int:
        """The documents that have versions."""
        return len(self.places)

    def __iter__(self) -> Iterator[Example]:
        kept = iter(self.places)
        place = next(kept, None)
        for number, document in enumerate(self.chosen):
            if number == place:
                yield from self.variation.of(document)
                place = next(kept, None)


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
        return self._builder(example).shots_for(example)

    def build(self, example: Example) -> Rendered:
        """The prompt of one version of a document."""
        return self._builder(example).build(example)

    def _builder(self, example: Example) -> PromptBuilder:
        return self.builders[self.variation.wording_of(example), draw_of_shots(example)]

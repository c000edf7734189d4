"""Which documents of a split a run is about: all, or the same N for everyone who asks for N; or one shard of these."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mibe.data.documents import check_split, examples, examples_at, placed_examples
from mibe.data.labels import checked
from mibe.errors import UsageError
from mibe.prompting import question, shot_order
from mibe.run.shards import Shard
from mibe.task import Example, Task


@dataclass(frozen=True)
class Documents:
    """The selected documents of one task's split, read from disk anew each time they are iterated.

    With a limit, the documents with the smallest hash of seed and id are taken, in file order: the choice does not
    depend on the order of the file (MMLU's begins with a hundred questions of algebra), and a smaller limit is a
    part of a larger one. A shard divides the documents so selected.
    """

    task: Task
    split: str
    places: array[int] | None
    """Where the selected documents stand in the split, in ascending order; None where all of them are selected."""
    count: int
    total: int

    @classmethod
    def select(cls, task: Task, split: str, limit: int | None, seed: int, shard: Shard | None = None) -> Documents:
        """Choose `limit` documents (None: all), and of these one shard. A limit above the size of the split is none.

        Raises `UsageError` for a limit out of range, and for more shards than there are documents; `DataError` for data
        that is not here, is not in the schema, or has targets that are not among the task's labels, selected or not.
        """
        if limit is not None and limit < 1:
            raise UsageError(f"--limit {limit} is out of range; it is a number of documents, at least 1")
        check_split(task, split)
        whole = cls._sample(task, split, limit, seed)
        return whole if shard is None else whole._part(shard)

    @classmethod
    def _sample(cls, task: Task, split: str, limit: int | None, seed: int) -> Documents:
        if limit is None:
            total = sum(1 for _ in checked(task, placed_examples(task, split)))
            return cls(task, split, None, total, total)
        total = 0

        def keys() -> Iterator[tuple[str, str, int]]:
            nonlocal total
            for place, example in checked(task, placed_examples(task, split)):
                total += 1
                yield shot_order(seed, example.id), example.id, place

        places = array("Q", sorted(place for *_, place in heapq.nsmallest(limit, keys())))
        return cls(task, split, places, len(places), total)

    def _part(self, shard: Shard) -> Documents:
        if 0 < self.count < shard.count:
            raise UsageError(f"--shard {shard}: {self.task.name} has {self.count} documents, so at most as many shards")
        prompt = self.task.prompt
        chosen = shard.members((example.id, len(question(prompt, example))) for example in self)
        places = array("Q", (place for place, example in self._placed() if example.id in chosen))
        return replace(self, places=places, count=len(places))

    def _placed(self) -> Iterator[tuple[int, Example]]:
        return placed_examples(self.task, self.split) if self.places is None else zip(self.places, self, strict=True)

    def __iter__(self) -> Iterator[Example]:
        if self.places is None:
            return examples(self.task, self.split)
        # Of a few out of many the others are not even parsed.
        return examples_at(self.task, self.split, self.places)

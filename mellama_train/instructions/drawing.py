"""A seeded draw of at most so many items out of a stream of any length, in memory for the drawn ones' keys alone."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from pathlib import Path

import xxhash

from mellama_train.corpus.words import normalise
from mellama_train.instructions.items import Item


def key_of(item: Item, seed: int) -> int:
    """A number from the item's texts and the seed: equal for copies (case and spacing aside), else as if drawn."""
    text = "\x1f".join(" ".join(normalise(text).split()) for text in item.texts())
    return xxhash.xxh3_64_intdigest(text.encode(), seed=seed)


class Draw:
    """Keeps the items with the `cap` smallest keys: a uniform draw that the order of the stream has no part in.

    Items lie in a file until they are read back; what fell out of the draw again is left there unread.
    """

    def __init__(self, path: Path, cap: int | None) -> None:
        self._file = path.open("w+b")
        self._cap = cap
        self._heap: list[tuple[int, int]] = []
        self._keys: set[int] = set()

    def has(self, key: int) -> bool:
        """Whether an item of this key is in the draw."""
        return key in self._keys

    def wants(self, key: int) -> bool:
        """Whether an item of this key would be drawn, as far as the stream was seen."""
        return self._cap is None or len(self._heap) < self._cap or key < -self._heap[0][0]

    def add(self, key: int, item: Item) -> None:
        """Take the item into the draw, and the one with the largest key out when there is one too many."""
        heapq.heappush(self._heap, (-key, self._file.seek(0, 2)))
        self._keys.add(key)
        line = [item.id, dict(item.fields), item.response, item.follow_up]
        self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        if self._cap is not None and len(self._heap) > self._cap:
            fallen, _ = heapq.heappop(self._heap)
            self._keys.discard(-fallen)

    def __len__(self) -> int:
        return len(self._heap)

    def drawn(self) -> Iterator[tuple[int, Item]]:
        """(key, item) of the drawn items, the smallest key first."""
        for negative, place in sorted(self._heap, reverse=True):
            self._file.seek(place)
            id, fields, response, follow_up = json.loads(self._file.readline())
            yield -negative, Item(id, fields, response, tuple((user, answer) for user, answer in follow_up))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

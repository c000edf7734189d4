"""One run on many machines: which documents are whose, agreed on without a word between them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mibe.errors import UsageError


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` of `count`, from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """A shard from "3/16". Raises `UsageError` for anything that is not a part of a whole."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--shard {text} is not a part of a whole; write I/N, from 1/N to N/N")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def members(self, lengths: Iterable[tuple[str, int]]) -> frozenset[str]:
        """The ids of this shard out of all (id, length), whose order does not matter.

        The documents are dealt from the longest to the shortest, to and fro: the sizes of two shards differ by at most
        one document, and their lengths by less than the longest document.
        """
        ordered = sorted((-length, ident) for ident, length in lengths)
        return frozenset(ident for position, (_, ident) in enumerate(ordered) if self._is_dealt(position))

    def _is_dealt(self, position: int) -> bool:
        turn, seat = divmod(position, self.count)
        return (seat if turn % 2 == 0 else self.count - 1 - seat) == self.number - 1

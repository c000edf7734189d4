"""Which texts occurred before, in some sixteen bytes each: a set of a million ids takes a hundred."""

from __future__ import annotations

from array import array

FIRST = 1024
"""Slots to begin with; they double when two in three are taken."""


class Seen:
    """The hashes of texts, in a table with open addressing (Knuth, "The art of computer programming", section 6.4).

    Two texts share a hash of 64 bits once in many millions of files of a million lines: whoever must know looks again.
    """

    def __init__(self) -> None:
        self._slots = _empty(FIRST)
        self._count = 0

    def add(self, text: str) -> bool:
        """Add a text; True where it, or one with its hash, was added before."""
        # 0 is an empty slot.
        if not _put(self._slots, hash(text) or 1):
            return True
        self._count += 1
        if 3 * self._count > 2 * len(self._slots):
            larger = _empty(2 * len(self._slots))
            for value in self._slots:
                if value:
                    _put(larger, value)
            self._slots = larger
        return False


def _empty(slots: int) -> array[int]:
    return array("q", bytes(8 * slots))


def _put(slots: array[int], value: int) -> bool:
    """Whether there was no such value; it is there now."""
    mask = len(slots) - 1
    at = value & mask
    while found := slots[at]:
        if found == value:
            return False
        at = (at + 1) & mask
    slots[at] = value
    return True

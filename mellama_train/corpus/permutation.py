"""A seeded order of any number of rows in no memory: the place of one row is computed, not looked up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

_MASK = (1 << 64) - 1
ROUNDS = 6


@dataclass(frozen=True)
class Permutation:
    """A bijection on 0 … size-1 by a balanced Feistel network with cycle walking (Black and Rogaway, 2002).

    A stored permutation of the 31 million rows of a 129B-token run takes 250 MB in each process, and another for each
    epoch; this takes nothing, and a row is found in some microseconds.
    """

    size: int
    seed: int

    @cached_property
    def _half(self) -> int:
        return max(1, ((self.size - 1).bit_length() + 1) // 2)

    @cached_property
    def _keys(self) -> list[int]:
        return [mix(self.seed * ROUNDS + number) for number in range(ROUNDS)]

    def __getitem__(self, index: int) -> int:
        """Where `index` goes. The domain of the network is at most four times `size`: few steps lead back into it."""
        if not 0 <= index < self.size:
            raise IndexError(index)
        place = self._network(index)
        while place >= self.size:
            place = self._network(place)
        return place

    def _network(self, value: int) -> int:
        half, mask = self._half, (1 << self._half) - 1
        left, right = value >> half, value & mask
        for key in self._keys:
            left, right = right, left ^ (mix(right ^ key) & mask)
        return (left << half) | right


def mix(value: int) -> int:
    """A well-mixed 64-bit hash of an integer (the finaliser of splitmix64)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)

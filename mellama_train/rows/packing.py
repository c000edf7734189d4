"""Samples put together into rows, none of them cut: first-fit decreasing within shuffled windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Pack = Callable[[NDArray[np.int64], int, int, int, int], list[NDArray[np.int64]]]
"""(lengths of the samples, capacity of a row, window, seed, epoch) → the samples of each row of the epoch."""


def first_fit_decreasing(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices of `lengths` in bins of `capacity`: each item, longest first, into the first bin that has room.

    At most 11/9 of the fewest bins possible, and one more (Dósa 2007). A tree over the free room of the bins finds
    the first that fits in O(log n). Raises `ValueError` for an item that is longer than a bin.
    """
    if lengths and max(lengths) > capacity:
        raise ValueError(f"an item of {max(lengths)} does not fit {capacity}")
    leaves = 1 << max(0, len(lengths) - 1).bit_length()
    # room[i] is the most room below node i; the leaves, from `leaves` on, are bins, at first all empty.
    room = [capacity] * (2 * leaves)
    bins: list[list[int]] = []
    for item in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        node = 1
        while node < leaves:
            node *= 2
            if room[node] < lengths[item]:
                node += 1
        number = node - leaves
        if number == len(bins):
            bins.append([])
        bins[number].append(item)
        room[node] -= lengths[item]
        while node > 1:
            node //= 2
            room[node] = max(room[2 * node], room[2 * node + 1])
    return bins


def pack_epoch(
    lengths: NDArray[np.int64], capacity: int, window: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """The samples of one epoch as rows (indices of the samples in each), in a random order of their own.

    Samples are shuffled, then packed `window` at a time, so that rows mix what lay apart in the files; then the rows
    are shuffled, since the first bins of a window hold its longest samples.
    """
    chance = np.random.default_rng((seed, epoch))
    order = chance.permutation(len(lengths))
    rows: list[NDArray[np.int64]] = []
    for start in range(0, len(order), window):
        part = order[start : start + window]
        bins = first_fit_decreasing([int(length) for length in lengths[part]], capacity)
        rows += [part[np.array(members)] for members in bins]
    return [rows[number] for number in chance.permutation(len(rows))]


def one_a_row(lengths: NDArray[np.int64], capacity: int, window: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """The samples of one epoch one in each row, in its random order."""
    return list(np.random.default_rng((seed, epoch)).permutation(len(lengths))[:, None])

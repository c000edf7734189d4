"""Seeded splits that are the same on every machine, in every version of Python and for any order of the input."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from mibe.errors import DataError

SEED = 42
"""The seed of every split that mibe makes because the official release has none."""


def stratified_split(
    ids: Sequence[str],
    *,
    labels: Sequence[str],
    groups: Sequence[str],
    sizes: Mapping[str, int],
    seed: int = SEED,
) -> dict[str, list[int]]:
    """Split name → positions of its items in `ids`, ascending.

    The sizes are exact, every label is spread over the splits in proportion to their sizes, and items of one group
    (such as one text listed twice) are never in two splits. `ids` must be unique. Items are put in the order of their
    label and, within it, of a hash of seed and id; each then goes to the split that is furthest behind its share.

    Raises `DataError` when the sizes do not add up, or a group is too large for every split.
    """
    if sum(sizes.values()) != len(ids):
        raise DataError(f"the split sizes {dict(sizes)} add up to {sum(sizes.values())}, not to the {len(ids)} items")
    members: dict[str, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    # Large groups go first: single items then fill each split to its exact size.
    ordered = sorted(members.values(), key=lambda m: _rank(m, ids, labels, seed))
    chosen: dict[str, list[int]] = {split: [] for split in sizes}
    placed = 0
    for group_members in ordered:
        placed += len(group_members)
        split = _furthest_behind(chosen, sizes, placed, len(ids), len(group_members))
        chosen[split] += group_members
    return {split: sorted(positions) for split, positions in chosen.items()}


def proportional(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """The sizes scaled to add up to `total`, by largest remainder."""
    whole = sum(sizes.values())
    scaled = {split: size * total // whole for split, size in sizes.items()}
    remainders = sorted(sizes, key=lambda split: -(sizes[split] * total % whole))
    for split in remainders[: total - sum(scaled.values())]:
        scaled[split] += 1
    return scaled


def normalised(text: str) -> str:
    """The text without case and white space differences: two documents equal in it are one document."""
    return " ".join(text.lower().split())


def _rank(members: list[int], ids: Sequence[str], labels: Sequence[str], seed: int) -> tuple[int, str, str]:
    label = "\0".join(sorted(labels[i] for i in members))
    key = min(hashlib.sha256(f"{seed}\0{ids[i]}".encode()).hexdigest() for i in members)
    return -len(members), label, key


def _furthest_behind(
    chosen: Mapping[str, list[int]], sizes: Mapping[str, int], placed: int, total: int, size: int
) -> str:
    room = [split for split in sizes if len(chosen[split]) + size <= sizes[split]]
    if not room:
        raise DataError(
            f"{size} items of one group must stay together, and no split of {dict(sizes)} has room for them"
        )
    # Share due minus share given, times `total`, so that it stays a whole number; the first split wins a tie.
    return max(room, key=lambda split: sizes[split] * placed - len(chosen[split]) * total)

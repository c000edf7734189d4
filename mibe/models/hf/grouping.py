"""Which prompts share a long beginning: they are put together, so that a model reads what they share once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Tokens = Sequence[int]

WORTH_SAVING = 64
"""Tokens that reading a beginning on its own must save: fewer do not pay for one more pass through the model."""

WORTH_SHARING = 0.1
"""The part of all tokens that it must save: what comes after a beginning is read more slowly than a whole prompt."""


@dataclass(frozen=True, slots=True)
class Group:
    """Prompts with the same first `head` tokens; `members` are their numbers, longest first."""

    head: int
    members: list[int] = field(default_factory=list)


def group_by_head(prompts: Sequence[Tokens]) -> list[Group]:
    """Divide prompts into groups, such that reading each group's head once saves the most that is worth the while.

    The prompts are seen as a tree, each node a beginning that some have in common. A node is a head of its own when
    its prompts together save `WORTH_SAVING` tokens against the head above it, and `WORTH_SHARING` of their own. Groups
    come in the order of the tree, branches with the longest prompts first: who keeps the last head read needs to read
    but what is new in the next.
    """
    order = sorted(range(len(prompts)), key=lambda number: tuple(prompts[number]))
    shared = [common_length(prompts[a], prompts[b]) for a, b in pairwise(order)]
    root = Group(0)
    groups = [root]
    # Nodes still to be seen, the next one last: a range of `order`, and the group of the head above it.
    waiting = [(0, len(order), root)] if order else []
    while waiting:
        low, high, group = waiting.pop()
        if high - low == 1:
            group.members.append(order[low])
            continue
        common = min(shared[low : high - 1])
        saved = (high - low - 1) * (common - group.head)
        own = sum(len(prompts[number]) - group.head for number in order[low:high])
        if saved >= max(WORTH_SAVING, WORTH_SHARING * own):
            group = Group(common)
            groups.append(group)
        cuts = [low, *(at + 1 for at in range(low, high - 1) if shared[at] == common), high]
        branches = [(start, end, group) for start, end in pairwise(cuts)]
        waiting += sorted(branches, key=lambda node: max(len(prompts[number]) for number in order[node[0] : node[1]]))
    for group in groups:
        group.members.sort(key=lambda number: (-len(prompts[number]), number))
    return [group for group in groups if group.members]


def common_length(a: Tokens, b: Tokens) -> int:
    """Number of tokens that two prompts have in common at their beginning."""
    return next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))

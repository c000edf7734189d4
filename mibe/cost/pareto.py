"""Which models none of the others beats in both cost and figure."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Numbers of the (cost, figure) that no other one is as cheap as and as good as, and better in one; by their cost.

    Points that are the same in both stand in it together.
    """
    found: list[int] = []
    best = float("-inf")
    for number in sorted(range(len(points)), key=lambda number: (points[number][0], -points[number][1])):
        is_best = points[number][1] > best
        if is_best or (found and points[number] == points[found[-1]]):
            found.append(number)
            best = points[number][1]
    return found

"""The Pareto line beside a search through all pairs."""

from hypothesis import given
from hypothesis import strategies as st

from mibe.cost.pareto import front

NUMBERS = st.integers(0, 6).map(float)


def beaten(point, others):
    """Whether another point is as cheap and as good, and better in one."""
    return any(cost <= point[0] and value >= point[1] and (cost, value) != point for cost, value in others)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12))
def test_the_line_is_what_a_search_through_all_pairs_finds(points):
    found = front(points)
    assert sorted(found) == [number for number, point in enumerate(points) if not beaten(point, points)]
    assert [points[number][0] for number in found] == sorted(points[number][0] for number in found)
    assert [points[number][1] for number in found] == sorted(points[number][1] for number in found)


def test_a_dearer_model_that_is_no_better_is_not_on_it():
    assert front([(1.0, 0.5), (2.0, 0.5), (3.0, 0.7), (4.0, 0.6)]) == [0, 2]
    assert front([]) == [] and front([(1.0, 0.5), (1.0, 0.5)]) == [0, 1]

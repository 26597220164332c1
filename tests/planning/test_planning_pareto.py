"""The Pareto front of points made by hand, and its definition."""

from hypothesis import given
from hypothesis import strategies as st

from modelwright.planning.pareto import pareto_front


def test_by_hand():
    #          error, size
    points = [(1, 9), (2, 5), (3, 5), (4, 1), (4, 2), (1, 9), (9, 9)]
    assert pareto_front(points) == [True, True, False, True, False, True, False]
    assert pareto_front([]) == []
    assert pareto_front([(3,)]) == [True]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1))
def test_what_is_left_out_is_beaten_by_what_is_in(points):
    holds = pareto_front(points)
    front = [point for point, on in zip(points, holds, strict=True) if on]
    assert front
    for point, on in zip(points, holds, strict=True):
        beaten = any(rival != point and all(a <= b for a, b in zip(rival, point, strict=True)) for rival in front)
        assert beaten is not on

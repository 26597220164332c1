"""Schedules: their shapes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.config import validate
from modelwright.core.errors import InputError
from modelwright.training.schedule import schedules

NAMES = ["constant", "cosine", "linear", "wsd"]


def test_all_schedules_are_found():
    assert list(schedules) == NAMES


@pytest.mark.parametrize(
    ("name", "settings", "points"),
    [
        ("constant", {"warmup": 0.2}, {0.0: 0, 0.1: 0.5, 0.2: 1, 1.0: 1}),
        ("linear", {"warmup": 0.2, "final": 0.1}, {0.0: 0, 0.1: 0.5, 0.2: 1, 0.6: 0.55, 1.0: 0.1}),
        ("linear", {"warmup": 0.0, "final": 0.0}, {0.0: 1, 0.5: 0.5, 1.0: 0}),
        ("cosine", {"warmup": 0.0, "final": 0.0}, {0.0: 1, 0.5: 0.5, 0.25: 0.853553, 1.0: 0}),
        ("cosine", {"warmup": 0.5, "final": 0.2}, {0.25: 0.5, 0.5: 1, 0.75: 0.6, 1.0: 0.2}),
        ("wsd", {"warmup": 0.1, "decay": 0.4, "final": 0.0}, {0.05: 0.5, 0.1: 1, 0.6: 1, 0.8: 0.5, 1.0: 0}),
        ("wsd", {"warmup": 0.0, "decay": 1.0, "final": 0.5}, {0.0: 1, 0.5: 0.75, 1.0: 0.5}),
    ],
)
def test_shape(name, settings, points):
    schedule = schedules[name](**settings).build()
    for progress, factor in points.items():
        assert schedule(progress) == pytest.approx(factor, abs=1e-6), progress


@given(name=st.sampled_from(NAMES), warmup=st.floats(0, 0.6), final=st.floats(0, 1))
def test_rises_to_one_then_never_rises_and_ends_at_final(name, warmup, final):
    settings = {"warmup": warmup} if name == "constant" else {"warmup": warmup, "final": final}
    schedule = schedules[name](**settings).build()
    points = [schedule(n / 200) for n in range(201)]
    peak = next(n for n in range(201) if n / 200 >= warmup)
    assert all(0 <= p <= 1 for p in points)
    assert all(a <= b + 1e-12 for a, b in pairwise(points[:peak]))
    assert all(a >= b - 1e-12 for a, b in pairwise(points[peak:]))
    assert schedule(warmup) == pytest.approx(1, abs=1e-9)
    assert points[-1] == pytest.approx(1 if name == "constant" else final, abs=1e-9)
    assert (schedule(-1), schedule(2)) == (points[0], points[-1])


def test_a_warmup_and_a_decay_longer_than_the_run_are_refused():
    with pytest.raises(InputError, match="more than the run"):
        validate(schedules["wsd"], {"warmup": 0.5, "decay": 0.6})

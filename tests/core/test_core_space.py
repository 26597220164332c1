"""Search spaces are read off the annotations of fields, wherever in a configuration they stand."""

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.config import Config
from modelwright.core.errors import InputError
from modelwright.core.space import Around, Between, Choice, Interval, OneOf, dimensions, with_setting


class Part(Config):
    strength: Annotated[float, Between(0.0, 1.0)] = 0.5
    name: str = "part"


class Whole(Config):
    rate: Annotated[float, Around(5)] = 0.01
    batch: Annotated[int, Around(4, doubling=True)] = 32
    kind: Annotated[str, OneOf(("a", "b"))] = "a"
    steps: int = 3
    part: Part = Part()
    parts: tuple[Part, ...] = (Part(), Part(strength=0.1))


def test_every_marked_setting_is_found_with_its_own_value():
    found = {key: (own, dimension) for key, own, dimension in dimensions(Whole())}
    assert found == {
        "rate": (0.01, Interval(0.002, 0.05, logarithmic=True)),
        "batch": (32, Choice((8, 16, 32, 64, 128))),
        "kind": ("a", Choice(("a", "b"))),
        "part.strength": (0.5, Interval(0.0, 1.0)),
        "parts.0.strength": (0.5, Interval(0.0, 1.0)),
        "parts.1.strength": (0.1, Interval(0.0, 1.0)),
    }


def test_a_setting_is_put_in_its_place_and_checked():
    changed = with_setting(with_setting(Whole(), "parts.1.strength", 0.9), "batch", 64)
    assert changed == Whole(batch=64, parts=(Part(), Part(strength=0.9)))
    with pytest.raises(InputError, match="rate"):
        with_setting(Whole(), "rate", "fast")


@given(st.floats(1e-6, 1e3), st.integers(1, 10_000))
def test_the_own_value_lies_in_its_dimension(number, whole):
    for mark, own in (
        (Between(0.1, 0.2), number),
        (Between(0.1, 0.2, logarithmic=True), number),
        (Around(5), number),
        (Around(4), whole),
        (Around(4, doubling=True), whole),
        (OneOf((1, 2)), whole),
    ):
        dimension = mark.around(own)
        assert dimension is not None
        assert own in dimension


def test_what_has_no_logarithm_is_not_searched_on_a_logarithmic_scale():
    assert Between(0.1, 1.0, logarithmic=True).around(0.0) is None
    assert Around(5).around(0.0) is None
    assert Around(5).around(None) is None
    assert Between(0.0, 1.0).around(0.0) == Interval(0.0, 1.0)
    assert Between(0.0, 1.0).around(True) is None

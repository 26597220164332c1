"""The size that a compute pays for."""

import pytest

from modelwright.planning.size import compute_optimal_parameters, nearest_width


def test_chinchilla_itself():
    # 5.76e23 FLOPs: 70 billion parameters and 1.4 trillion tokens (Hoffmann et al. 2022, table 4).
    assert compute_optimal_parameters(5.76e23) == pytest.approx(70e9, rel=0.02)


@pytest.mark.parametrize("wanted", [1e3, 1e5, 1e7])
def test_the_nearest_width_is_within_half_a_step(wanted):
    def size(factor):
        return round(30_000 * factor**2 + 500 * factor)

    found = size(nearest_width(size, wanted))
    assert wanted / 2 < found < wanted * 2

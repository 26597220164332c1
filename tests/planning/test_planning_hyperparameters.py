"""Rules for batch size, weight decay and horizon, in numbers worked out by hand."""

import pytest

from modelwright.planning.hyperparameters import decay_for_timescale, rate_for_batch, rate_for_horizon


def test_the_rate_follows_the_root_of_the_batch_or_the_batch():
    assert rate_for_batch(0.001, 4, adaptive=True) == pytest.approx(0.002)
    assert rate_for_batch(0.1, 4, adaptive=False) == pytest.approx(0.4)
    assert rate_for_batch(0.1, 1, adaptive=True) == 0.1


def test_the_rate_falls_with_the_horizon():
    assert rate_for_horizon(0.01, 8) == pytest.approx(0.01 * 8**-0.32)
    assert rate_for_horizon(0.01, 4, exponent=0.5) == pytest.approx(0.005)


def test_weights_are_averaged_over_the_same_share_of_the_run():
    decay = decay_for_timescale(0.1, rate=2, steps=5)
    assert decay == pytest.approx(0.01)
    assert decay * 2e-3 * 500 == pytest.approx(0.1 * 1e-3 * 100)


def test_a_factor_is_positive():
    with pytest.raises(AssertionError):
        rate_for_horizon(0.1, 0)

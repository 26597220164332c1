"""Forecasts: intervals that hold on simulated learning curves, and that widen when little is known."""

import numpy as np
import pytest

from modelwright.planning.curve import CurvePoint, forecast_error_rate, forecast_loss


def test_no_points_no_forecast():
    with pytest.raises(ValueError, match="at least one point"):
        forecast_error_rate([], 10, 100, 100)


def test_interval_holds_on_simulated_curves():
    random = np.random.default_rng(3)
    inside = 0
    for seed in range(200):
        exponent, scale = random.uniform(0, 0.35), random.uniform(0.01, 0.1)
        truth = {compute: scale * compute**-exponent for compute in (1, 3, 12)}
        points = [CurvePoint(compute, random.binomial(500, truth[compute]) / 500) for compute in (1, 3)]
        seen = random.binomial(500, truth[12]) / 500
        forecast = forecast_error_rate(points, 12, 500, 500, seed)
        inside += forecast.low <= seen <= forecast.high
    assert 0.88 <= inside / 200 <= 1.0


def test_a_smaller_test_set_widens_the_interval():
    points = [CurvePoint(1, 0.05), CurvePoint(4, 0.03)]
    small, large = forecast_error_rate(points, 16, 1000, 100), forecast_error_rate(points, 16, 1000, 10_000)
    assert small.high - small.low > 1.5 * (large.high - large.low)
    assert large.value == pytest.approx(small.value)


def test_more_compute_never_makes_the_forecast_worse():
    points = [CurvePoint(1, 0.05), CurvePoint(4, 0.03)]
    values = [forecast_error_rate(points, c, 1000, 1000).value for c in (4, 8, 16, 64)]
    assert values == sorted(values, reverse=True)


def test_no_error_seen_does_not_promise_perfection():
    forecast = forecast_error_rate([CurvePoint(1, 0.0)], 4, 180, 180)
    assert 0 < forecast.value < 0.01
    assert forecast.low == 0.0
    assert forecast.high > 0.0


def test_loss_forecast_is_near_the_last_point_and_covers_sampling():
    forecast = forecast_loss([CurvePoint(1, 2.0), CurvePoint(4, 1.5)], 8, 0.05, 0.05)
    assert forecast.low < forecast.value < 1.5 < forecast.high

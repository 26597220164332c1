"""The forecast of the final loss: on curves whose end is known."""

import math

import numpy as np
import pytest

from modelwright.planning.final_loss import foretell


def cosine(progress):
    return min(progress / 0.05, 1.0) if progress < 0.05 else 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))


def curve(random, exponent, annealing, noise=0.05, points=200):
    x = np.linspace(0.005, 1, points)
    rate = np.array([cosine(place) for place in x])
    area = np.cumsum(rate) / rate.sum()
    fallen = np.where(x < 0.05, 0.0, 1 - rate)
    return x, np.exp(1 - exponent * np.log(area) - annealing * fallen + noise * random.normal(size=points))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
def test_the_end_of_a_curve_of_the_form_is_mostly_inside(share):
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(40):
        x, y = curve(random, abs(random.normal(0.35, 0.2)), abs(random.normal(0.3, 0.2)))
        seen = x <= share
        forecast = foretell(x[seen], y[seen], cosine)
        assert forecast is not None
        assert forecast.low <= forecast.value <= forecast.high
        inside += forecast.low <= y[x >= 0.95].mean() <= forecast.high
    assert inside >= 34


def test_the_interval_is_wide_when_young_and_narrows():
    x, y = curve(np.random.default_rng(1), 0.3, 0.2)
    widths = [
        forecast.high / forecast.low for share in (0.1, 0.4, 0.8, 1.0) if (forecast := foretell(x[x <= share], y[x <= share], cosine))
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 2 > 1.2 > widths[-1]


@pytest.mark.parametrize(
    ("progress", "losses"),
    [
        ([], []),
        ([0.01, 0.02], [1.0, 0.9]),
        ([0.1] * 4, [1.0] * 4),
        (np.linspace(0.01, 0.5, 50), np.linspace(1, -1, 50)),
        ([0.5, 0.6], [math.nan, math.inf]),
    ],
)
def test_too_little_to_go_by_is_no_forecast(progress, losses):
    assert foretell(progress, losses, cosine) is None


def test_a_constant_rate_and_a_flat_curve_are_no_trouble():
    forecast = foretell(np.linspace(0.01, 0.5, 60), np.full(60, 0.7), lambda progress: 1.0)
    assert forecast is not None
    assert forecast.low < 0.7 < forecast.high

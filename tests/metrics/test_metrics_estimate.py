"""Estimates and their intervals: known values, invariants, and coverage on simulated data."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelwright.metrics.bootstrap import PoissonWeights
from modelwright.metrics.classification import ClassificationMeter
from modelwright.metrics.estimate import Estimate, percentile, proportion, reflected, wilson
from modelwright.metrics.regression import RegressionMeter


def test_wilson_equals_published_values():
    # Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3.
    for right, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)):
        found = wilson(right / n, n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@given(st.floats(0, 1), st.floats(0, 1e9), st.lists(st.floats(0, 1), max_size=8))
def test_every_interval_holds_its_value(value, n, replicates):
    drawn = torch.tensor([*replicates, *([math.nan] if replicates else [])], dtype=torch.float64)
    count = max(1, int(n))
    for estimate in (wilson(value, n), proportion(value, drawn, n), percentile(value, drawn, count), reflected(value, drawn, count)):
        assert 0 <= estimate.low <= estimate.value <= estimate.high
    assert wilson(value, n).high <= 1
    if n:
        assert wilson(value, n).low < wilson(value, n).high or n > 1e7


def test_what_is_no_estimate_is_refused():
    for value, low, high in ((math.nan, 0, 1), (0.5, 0.6, 1), (0.5, 0, math.inf)):
        with pytest.raises(ValueError, match="no estimate"):
            Estimate(value, low, high)


def test_an_estimate_is_read_as_written():
    estimate = Estimate(0.9862, 0.981, 0.99)
    assert Estimate.from_dict(estimate.to_dict()) == estimate
    assert estimate.percent() == "98.6 % (98.1-99.0)"
    assert Estimate(0.99912, 0.9989, 0.9992).percent() == "99.91 % (99.89-99.92)"
    assert Estimate(0.01134, 0.0091, 0.0142).number() == "0.011 (0.009-0.014)"
    assert Estimate(12345.6, 12001.2, 12777.7).number() == "12,346 (12,001-12,778)"
    assert Estimate(-2.5, -3e7, 0.0).number() == "-2 (-3.00e+07 to 0)"
    assert Estimate(0.01134, 0.01134, 0.01134).number() == "0.0113"


def test_weights_are_poisson_and_don_t_depend_on_the_batches():
    whole = PoissonWeights(199, seed=4).draw(500)
    source = PoissonWeights(199, seed=4)
    assert torch.equal(whole, torch.cat([source.draw(size) for size in (1, 99, 400)]))
    assert torch.equal(whole[:, 0], torch.ones(500))
    drawn = whole[:, 1:]
    assert float(drawn.mean()) == pytest.approx(1, abs=0.01)
    assert float(drawn.var()) == pytest.approx(1, abs=0.03)
    for k in range(4):
        assert float((drawn == k).double().mean()) == pytest.approx(math.exp(-1) / math.factorial(k), abs=0.005)
    assert not torch.equal(whole, PoissonWeights(199, seed=5).draw(500))


def _simulate(n, classes, seed, skill=1.2):
    """A model of fixed skill on data with unequal classes."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.multinomial(torch.arange(1.0, classes + 1), n, replacement=True, generator=generator)
    logits = torch.randn(n, classes, generator=generator)
    logits[torch.arange(n), target] += skill
    return logits, target


@pytest.mark.parametrize(("classes", "n"), [(2, 150), (5, 250)])
def test_intervals_of_classification_cover_the_truth(classes, n):
    truth_meter = ClassificationMeter(list("abcde"[:classes]))
    truth_meter.update(*_simulate(400_000, classes, seed=99))
    truth = {name: estimate.value for name, estimate in truth_meter.compute().items()}
    covered = dict.fromkeys(truth, 0)
    simulations = 200
    for seed in range(simulations):
        meter = ClassificationMeter(list("abcde"[:classes]), replicates=100, seed=seed)
        meter.update(*_simulate(n, classes, seed=1000 + seed))
        for name, estimate in meter.compute().items():
            covered[name] += estimate.low <= truth[name] <= estimate.high
    shares = {name: count / simulations for name, count in covered.items()}
    assert all(0.88 <= share <= 0.99 for name, share in shares.items() if name != "calibration_error"), shares
    assert shares["calibration_error"] >= 0.8, shares  # it is biased upwards on few examples, which the interval corrects in part


def test_intervals_of_regression_cover_the_truth():
    generator = torch.Generator().manual_seed(3)
    truth = {"mae": 0.5 * math.sqrt(2 / math.pi), "rmse": 0.5, "r2": 0.75}
    covered = dict.fromkeys(truth, 0)
    for seed in range(200):
        y, noise = torch.randn(2, 80, generator=generator)
        meter = RegressionMeter(0.0, 1.0, replicates=100, seed=seed)
        meter.update((y + 0.5 * noise)[:, None], y)
        for name, estimate in meter.compute().items():
            covered[name] += estimate.low <= truth[name] <= estimate.high
    assert all(0.88 <= count / 200 <= 0.99 for count in covered.values()), covered

"""Regression metrics against scikit-learn, in the target's own unit."""

import json

import pytest
import torch
from sklearn import metrics as reference

from modelwright.core.errors import DivergedError
from modelwright.metrics.regression import RegressionMeter


def measure(output, target, sizes=(1, 50, 13), **options):
    meter = RegressionMeter(250.0, 40.0, **options)
    start = 0
    for size in [*sizes, len(target)]:
        if start < len(target):
            meter.update(output[start : start + size], target[start : start + size])
            start += size
    return meter


def draw(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(n, generator=generator)
    return (target + 0.5 * torch.randn(n, generator=generator))[:, None], target


def test_values_equal_those_of_scikit_learn():
    output, target = draw(500)
    meter = measure(output, target)
    found = {name: estimate.value for name, estimate in meter.compute().items()}
    y, prediction = (target * 40 + 250).double().numpy(), (output[:, 0] * 40 + 250).double().numpy()
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(y, prediction), rel=1e-5)
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(y, prediction), rel=1e-5)
    assert found["r2"] == pytest.approx(reference.r2_score(y, prediction), rel=1e-5)
    assert meter.details()["mean_error"] == pytest.approx(float((prediction - y).mean()), rel=1e-4)
    assert meter.details()["target_mean"] == pytest.approx(float(y.mean()), rel=1e-6)


def test_streaming_equals_one_shot_with_its_intervals():
    output, target = draw(300, seed=1)
    ragged, whole = measure(output, target, replicates=50).compute(), measure(output, target, (), replicates=50).compute()
    for name, estimate in whole.items():
        assert ragged[name].to_dict() == pytest.approx(estimate.to_dict(), rel=1e-9)
        assert estimate.low < estimate.value < estimate.high


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_examples_give_wide_intervals(n):
    output, target = draw(n, seed=2)
    found = measure(output, target, replicates=100).compute()
    assert ("r2" in found) == (n > 1)
    assert found["mae"].high > 1.3 * found["mae"].value
    assert found["mae"].low >= 0
    json.dumps({name: estimate.to_dict() for name, estimate in found.items()}, allow_nan=False)


def test_equal_targets_leave_out_r2():
    found = measure(torch.randn(30, 1), torch.full((30,), 1.7), replicates=20).compute()
    assert set(found) == {"mae", "rmse"}


def test_an_output_that_is_no_number_is_an_error():
    output, target = draw(20)
    output[3] = torch.nan
    with pytest.raises(DivergedError, match="1 of 20 outputs"):
        measure(output, target, ())

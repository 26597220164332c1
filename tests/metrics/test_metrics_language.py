"""Metrics of language models: against sums by hand, whatever the batches; intervals over windows; bad scores."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from modelwright.core.batch import IGNORED
from modelwright.core.errors import DivergedError, InputError
from modelwright.metrics.language import LanguageMeter

LENGTHS = np.array([0, 1, 1, 2, 7])


def data(windows=40, time=6, seed=0):
    draws = torch.Generator().manual_seed(seed)
    scores, target = torch.randn(windows, time, 5, generator=draws), torch.randint(0, 5, (windows, time), generator=draws)
    target[torch.rand(windows, time, generator=draws) < 0.3] = IGNORED
    return scores, target


def test_values_equal_those_by_hand():
    scores, target = data()
    meter = LanguageMeter(LENGTHS)
    for part in range(0, 40, 7):
        meter.update(scores[part : part + 7], target[part : part + 7])
    kept = target != IGNORED
    nats = F.cross_entropy(scores[kept].double(), target[kept]).item()
    count, length = int(kept.sum()), int(LENGTHS[target[kept].numpy()].sum())
    values = {name: estimate.value for name, estimate in meter.compute().items()}
    assert values["loss"] == pytest.approx(nats, rel=1e-6)
    assert values["perplexity"] == pytest.approx(math.exp(nats), rel=1e-6)
    assert values["bits_per_byte"] == pytest.approx(nats * count / math.log(2) / length, rel=1e-6)
    assert values["accuracy"] == pytest.approx((scores[kept].argmax(1) == target[kept]).double().mean().item())
    assert meter.details() == {"count": count, "bytes": length, "windows": 40}


def test_bits_per_byte_do_not_depend_on_the_tokenizer():
    """Two bytes in one token of probability 1/16, or in two of 1/4 each, are as well told."""
    joined, single = LanguageMeter(np.array([2] * 16)), LanguageMeter(np.array([1] * 4))
    joined.update(torch.zeros(1, 3, 16), torch.zeros(1, 3, dtype=torch.int64))
    single.update(torch.zeros(1, 6, 4), torch.zeros(1, 6, dtype=torch.int64))
    assert joined.compute()["bits_per_byte"].value == pytest.approx(single.compute()["bits_per_byte"].value) == pytest.approx(2.0)


def test_batches_and_precision_change_nothing_but_digits():
    scores, target = data()
    whole, parts = LanguageMeter(LENGTHS, replicates=100), LanguageMeter(LENGTHS, replicates=100)
    whole.update(scores, target)
    for part in range(0, 40, 3):
        parts.update(scores[part : part + 3], target[part : part + 3])
    for name, estimate in whole.compute().items():
        assert parts.compute()[name].to_dict() == pytest.approx(estimate.to_dict(), rel=1e-6)
    short = LanguageMeter(LENGTHS)
    short.update(scores.bfloat16(), target)
    assert short.compute()["loss"].value == pytest.approx(whole.compute()["loss"].value, rel=0.01)


def test_intervals_cover_the_truth_where_tokens_of_a_window_are_alike():
    """Windows are easy or hard as a whole; intervals that took tokens for independent would cover far less."""
    covered, trials, draws = 0, 100, torch.Generator().manual_seed(3)
    for trial in range(trials):
        ease = torch.randn(60, 1, generator=draws).expand(60, 8)
        scores = torch.stack([ease, torch.zeros_like(ease)], dim=2)
        meter = LanguageMeter(None, replicates=100, seed=trial)
        meter.update(scores, torch.zeros(60, 8, dtype=torch.int64))
        loss = meter.compute()["loss"]
        covered += loss.low <= 0.806059 <= loss.high
    assert covered >= 88


def test_the_mean_of_that_truth():
    grid = torch.linspace(-10, 10, 200001, dtype=torch.float64)
    density = torch.exp(-grid.square() / 2) / math.sqrt(2 * math.pi)
    assert (torch.log1p(torch.exp(-grid)) * density).sum().item() * 1e-4 == pytest.approx(0.806059, abs=1e-5)


def test_without_bytes_there_are_no_bits_per_byte():
    meter = LanguageMeter(None)
    meter.update(*data())
    assert set(meter.compute()) == {"loss", "perplexity", "accuracy"}
    assert set(meter.details()) == {"count", "windows"}


def test_scores_that_are_no_numbers_are_refused_where_they_count():
    scores, target = data()
    target[0, 0], target[0, 1] = IGNORED, 2
    scores[0, 0] = math.nan
    LanguageMeter(None).update(scores, target)
    scores[0, 1, 0] = math.nan
    with pytest.raises(DivergedError, match="not finite"):
        LanguageMeter(None).update(scores, target)


def test_a_loss_beyond_all_bounds_is_still_told():
    meter = LanguageMeter(None)
    meter.update(torch.tensor([[[0.0, 5000.0]]]), torch.tensor([[0]]))
    assert meter.compute()["loss"].value == 5000
    assert math.isfinite(meter.compute()["perplexity"].value)


def test_nothing_scored_is_an_error():
    meter = LanguageMeter(None)
    meter.update(torch.zeros(1, 2, 3), torch.full((1, 2), IGNORED))
    with pytest.raises(InputError):
        meter.compute()

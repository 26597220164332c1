"""Significance, against cases that are known or can be counted out."""

import itertools

import numpy as np
import pytest
import torch

from modelwright.evaluation.comparison import Errors, mcnemar
from modelwright.evaluation.significance import groups_against_rest, holm, paired, sign_flips


def mistakes(values):
    values = torch.tensor(values, dtype=torch.float64)
    return Errors("mistakes", values, torch.ones_like(values))


def test_classes_are_compared_by_the_exact_test_of_mcnemar():
    first, second = [0] * 80 + [1] * 2 + [0] * 10 + [1] * 8, [0] * 80 + [0] * 2 + [1] * 10 + [1] * 8
    difference = paired(mistakes(first), mistakes(second))
    assert difference.p_value == mcnemar(10, 2) == pytest.approx(2 * sum(map(_choose12, range(3))) / 2**12)
    assert difference.advantage.value == pytest.approx(0.08)
    assert difference.advantage.low > 0
    assert difference.examples == 100


def _choose12(k):
    import math

    return math.comb(12, k)


def test_sign_flips_agree_with_all_flips_counted_out():
    differences = torch.tensor([0.9, -0.2, 1.4, 0.3, 0.8, -0.1, 0.5, 1.1])
    flips = torch.tensor(list(itertools.product((-1, 1), repeat=8)), dtype=torch.float64)
    exact = float(((flips @ differences.double()).abs() >= float(differences.double().sum()) - 1e-9).double().mean())
    assert sign_flips(differences, rounds=20_000) == pytest.approx(exact, abs=0.005)
    assert sign_flips(torch.zeros(5)) == 1.0


def test_under_no_difference_p_values_are_as_likely_small_as_they_should_be():
    random = torch.Generator().manual_seed(0)
    p_values = [sign_flips(torch.randn(30, generator=random), seed=seed, rounds=400) for seed in range(300)]
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09


def test_a_real_difference_of_numbers_is_found_and_has_its_size():
    random = torch.Generator().manual_seed(1)
    noise = torch.randn(400, generator=random).double()
    first, second = (
        Errors("squared errors", noise.square(), torch.ones(400)),
        Errors("squared errors", (1.5 * noise).square(), torch.ones(400)),
    )
    difference = paired(Errors(first.kind, first.values, first.counts.double()), Errors(second.kind, second.values, second.counts.double()))
    assert difference.p_value < 0.001
    assert difference.advantage.value == pytest.approx(0.5 * float(noise.square().mean().sqrt()))


def test_texts_are_compared_by_token():
    counts = torch.tensor([10.0, 30.0], dtype=torch.float64)
    first, second = Errors("nats", 2 * counts, counts), Errors("nats", 3 * counts, counts)
    assert paired(first, second).advantage.value == pytest.approx(1.0)


def test_errors_of_other_examples_are_refused():
    with pytest.raises(ValueError, match="can't be paired"):
        paired(mistakes([0, 1]), mistakes([0, 1, 1]))


def test_errors_survive_being_written():
    for errors in (mistakes([0, 1, 1]), Errors("nats", torch.tensor([1.5, 2.25]).double(), torch.tensor([3.0, 4.0]).double())):
        again = Errors.from_json(errors.to_json())
        assert again.kind == errors.kind
        assert torch.equal(again.values, errors.values)
        assert torch.equal(again.counts, errors.counts)


def test_a_group_that_differs_is_found_among_those_that_dont():
    random = torch.Generator().manual_seed(2)
    values = torch.rand(300, generator=random)
    members = torch.rand(300, 6, generator=random) < 0.3
    values[members[:, 2]] += 0.5
    p_values = groups_against_rest(values, members)
    assert p_values[2] < 0.001
    assert min(p for place, p in enumerate(p_values) if place != 2) > 0.005
    assert groups_against_rest(torch.ones(300), members) == [1.0] * 6


def test_holm_agrees_with_its_definition():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []

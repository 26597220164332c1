"""Significance: p-values against scipy's and against what is known, the chance of a false difference among many."""

import numpy as np
import pytest
import torch

from modelwright.evaluation.significance import LEVEL, groups_against_rest, holm, paired_p_value

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("n", [5, 30, 400])
def test_numbers_are_compared_by_the_paired_t_test(n):
    random = np.random.default_rng(n)
    first = random.gamma(2.0, size=n)
    for shift in (0.0, 0.1, 0.5):
        second = first + random.normal(shift, 0.5, n)
        expected = float(stats.ttest_rel(first, second).pvalue)
        found = paired_p_value(torch.tensor(first), torch.tensor(second))
        # Wallace's approximation of Student's t is good to a few percent even with 4 degrees of freedom.
        assert found == pytest.approx(expected, rel=0.05)


def test_right_and_wrong_are_compared_by_the_exact_test():
    first, second = torch.zeros(100), torch.zeros(100)
    first[:3], second[3:15] = 1, 1
    assert paired_p_value(first, second) == pytest.approx(stats.binomtest(3, 15).pvalue)
    assert paired_p_value(first, first) == 1.0


def test_constant_differences():
    errors = torch.tensor([0.5, 1.5, 2.5])
    assert paired_p_value(errors, errors) == 1.0
    assert paired_p_value(errors, errors + 1) == 0.0
    assert paired_p_value(errors[:1], errors[1:2]) == 1.0


def test_under_no_difference_p_values_are_as_likely_small_as_they_should_be():
    random = torch.Generator().manual_seed(0)
    p_values = [paired_p_value(torch.randn(30, generator=random), torch.randn(30, generator=random)) for _ in range(300)]
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09


def test_holm_agrees_with_its_definition():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_steps_down_and_ends_at_the_first_that_may_be_chance():
    def different(p_values, comparisons):
        return [p_value < LEVEL for p_value in holm(p_values, comparisons)]

    assert different([0.012, 0.2, 0.02, 0.001], 4) == [True, False, True, True]
    assert different([0.02, 0.2, 0.02, 0.001], 4) == [False, False, False, True]
    assert different([0.012, 0.2, 0.02, 0.001], 100) == [False] * 4
    assert holm([0.001, 0.2], 10) == pytest.approx([0.01, 1.0])
    assert holm([], 0) == []


def test_the_best_of_many_equals_is_tied_with_all_of_them():
    # 12 predictors of the same skill: the best by luck must not be called better, but in one of 20 draws at most.
    random = np.random.default_rng(0)
    false = 0
    for _ in range(60):
        errors = torch.tensor((random.random((12, 150)) < 0.1).astype(float))
        best, *others = errors[errors.mean(1).argsort()]
        false += min(holm([paired_p_value(best, other) for other in others], 12 * 11 // 2)) < LEVEL
    assert false <= 6


def test_a_group_that_differs_is_found_among_those_that_dont():
    random = torch.Generator().manual_seed(2)
    values = torch.rand(300, generator=random)
    members = torch.rand(300, 6, generator=random) < 0.3
    values[members[:, 2]] += 0.5
    p_values = groups_against_rest(values, members)
    assert p_values[2] < 0.001
    assert min(p for place, p in enumerate(p_values) if place != 2) > 0.005
    assert groups_against_rest(torch.ones(300), members) == [1.0] * 6


def test_a_group_that_differs_is_found_among_very_many():
    random = torch.Generator().manual_seed(3)
    values = torch.rand(80, generator=random)
    members = torch.rand(80, 150, generator=random) < 0.3
    values[members[:, 7]] += 5
    assert holm(groups_against_rest(values, members))[7] < LEVEL

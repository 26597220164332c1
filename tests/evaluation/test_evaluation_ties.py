"""Ties: p-values against scipy's, the chance of a false difference among many, and errors packed into text."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelwright.evaluation.significance import holm
from modelwright.evaluation.ties import LEVEL, pack, paired_p_value, unpack

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


def told_apart(p_values, pairs):
    return [chance <= LEVEL for chance in holm(p_values, pairs)]


def tied(best, others):
    number = len(others) + 1
    return [not apart for apart in told_apart([paired_p_value(best, other) for other in others], number * (number - 1) // 2)]


def test_holm_steps_down_and_ends_at_the_first_that_may_be_chance():
    assert told_apart([0.012, 0.2, 0.02, 0.001], 4) == [True, False, True, True]
    assert told_apart([0.02, 0.2, 0.02, 0.001], 4) == [False, False, False, True]
    assert told_apart([0.012, 0.2, 0.02, 0.001], 100) == [False] * 4
    assert told_apart([], 0) == []


def test_the_best_of_many_equals_is_tied_with_all_of_them():
    # 12 predictors of the same skill: the best by luck must not be called better, but in one of 20 draws at most.
    random = np.random.default_rng(0)
    false = 0
    for _ in range(60):
        errors = torch.tensor((random.random((12, 150)) < 0.1).astype(float))
        order = errors.mean(1).argsort()
        false += not all(tied(errors[order[0]], [errors[index] for index in order[1:]]))
    assert false <= 6


def test_a_clear_difference_is_no_tie():
    random = torch.Generator().manual_seed(0)
    best = (torch.rand(300, generator=random) < 0.05).double()
    bad = (torch.rand(300, generator=random) < 0.4).double()
    assert tied(best, [best, bad, 1 - bad]) == [True, False, False]


@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=50) | st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=50))
def test_errors_come_back_from_text(values):
    errors = torch.tensor(values, dtype=torch.float64)
    assert torch.equal(unpack(pack(errors)), errors)


def test_of_many_the_same_examples_are_kept():
    errors = torch.arange(20_000, dtype=torch.float64)
    kept = unpack(pack(errors, most=100))
    assert len(kept) == 100
    assert torch.equal(kept, unpack(pack(errors + 1, most=100)) - 1)
    assert (kept[0], kept[-1]) == (0, 19_999)

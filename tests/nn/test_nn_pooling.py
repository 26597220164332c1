"""Pooling: by hand on uneven sequences, and heads."""

from __future__ import annotations

import pytest
import torch

from modelwright.core.batch import Features, FeatureSpec
from modelwright.core.errors import InputError
from modelwright.nn.head import HeadConfig
from modelwright.nn.pooling import Pool

X = torch.tensor([[[1.0, -8.0], [3.0, -2.0], [9.0, 9.0]], [[2.0, 5.0], [9.0, 9.0], [9.0, 9.0]]])
MASK = torch.tensor([[True, True, False], [True, False, False]])
SEQUENCE, GRID = FeatureSpec("sequence", 2, (3,)), FeatureSpec("grid", 2, (2, 3))


@pytest.mark.parametrize(
    ("how", "masked", "full"),
    [
        ("mean", [[2, -5], [2, 5]], [[13 / 3, -1 / 3], [20 / 3, 23 / 3]]),
        ("max", [[3, -2], [2, 5]], [[9, 9], [9, 9]]),
        ("last", [[3, -2], [2, 5]], [[9, 9], [9, 9]]),
        ("flatten", [[1, -8, 3, -2, 0, 0], [2, 5, 0, 0, 0, 0]], [[1, -8, 3, -2, 9, 9], [2, 5, 9, 9, 9, 9]]),
    ],
)
def test_sequences(how, masked, full):
    pool = Pool(how, SEQUENCE)
    torch.testing.assert_close(pool(Features(X, MASK)), torch.tensor(masked, dtype=torch.float32))
    torch.testing.assert_close(pool(Features(X)), torch.tensor(full, dtype=torch.float32))
    assert pool.gives == FeatureSpec("vector", len(full[0]))


def test_what_is_not_a_number_in_the_padding_stays_there():
    x = torch.where(MASK[:, :, None], X, torch.nan)
    for how in ("mean", "max", "last", "flatten"):
        assert Pool(how, SEQUENCE)(Features(x, MASK)).isfinite().all()


def test_grids():
    x = torch.arange(12.0).reshape(1, 2, 2, 3)
    assert Pool("mean", GRID)(Features(x)).tolist() == [[2.5, 8.5]]
    assert Pool("max", GRID)(Features(x)).tolist() == [[5.0, 11.0]]
    assert Pool("flatten", GRID)(Features(x.to(memory_format=torch.channels_last))).tolist() == [list(range(12))]
    assert Pool("flatten", GRID).gives.width == 12
    with pytest.raises(InputError, match=r"a grid has no last position \(grid 2x2x3\); expected mean, max or flatten"):
        Pool("last", GRID)


def test_a_vector_stays_as_it_is_under_every_pooling():
    x = torch.ones(2, 4)
    for how in ("mean", "max", "last", "flatten"):
        pool = Pool(how, FeatureSpec("vector", 4))
        assert pool(Features(x)) is x
        assert pool.gives.width == 4


def test_head_takes_the_mean_by_itself_and_drops_out_in_training():
    head = HeadConfig(dropout=0.5).build(SEQUENCE, 3)
    expected = head.linear(torch.tensor([[2.0, -5.0], [2.0, 5.0]]))
    torch.testing.assert_close(head.eval()(Features(X, MASK)), expected)
    assert not torch.equal(head.train()(Features(X.repeat(16, 1, 1))), head(Features(X.repeat(16, 1, 1))))

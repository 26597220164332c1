"""Positions that are added: against the formula, and as they are learned."""

from __future__ import annotations

import math

import pytest
import torch

from modelwright.nn.initialization import init_weights
from modelwright.nn.positions import LearnedPositions, RotaryPositions, SinusoidalPositions


@pytest.mark.parametrize("width", [6, 7])
def test_sinusoids_follow_the_formula(width: int):
    added = SinusoidalPositions(20, width)(torch.zeros(1, 20, width))[0]
    for position in range(20):
        for i in range(width):
            angle = position / 10_000 ** (2 * (i // 2) / width)
            assert added[position, i].item() == pytest.approx((math.cos if i % 2 else math.sin)(angle), abs=1e-6)


@pytest.mark.parametrize("module", [SinusoidalPositions(5, 4), RotaryPositions(5, 4)])
def test_computed_tables_survive_the_meta_device_and_stay_out_of_the_state(module):
    with torch.device("meta"):
        moved = type(module)(5, 4)
    moved = moved.to_empty(device="cpu")
    for buffer in moved.buffers():
        buffer.fill_(math.nan)
    init_weights(moved, 0)
    for (name, mine), theirs in zip(moved.named_buffers(), module.buffers(), strict=True):
        assert torch.equal(mine, theirs), name
    assert not module.state_dict()


def test_learned_positions_are_added_to_as_many_as_there_are():
    positions = LearnedPositions(5, 4)
    init_weights(positions, 0)
    x = torch.ones(2, 3, 4)
    assert torch.equal(positions(x), 1 + positions.table[:3].expand(2, 3, 4))

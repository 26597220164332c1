"""Caches: rings that go round, views of rows, and copies of them."""

from __future__ import annotations

import pytest
import torch

from modelwright.nn.cache import Cache, ring, state_dtype, write_many, write_one

SLOTS = 4
CPU = torch.device("cpu")


def marked(first: int, time: int, rows: int = 2) -> torch.Tensor:
    """Keys (B, 1, T, 3) that say which position of which row they are of."""
    position = torch.arange(first, first + time, dtype=torch.float32) + 100 * torch.arange(rows)[:, None]
    return position[:, None, :, None].expand(rows, 1, time, 3).contiguous()


def held(state, total: int) -> None:
    """The ring holds the last of `total` positions, each in its slot."""
    for position in range(max(0, total - SLOTS), total):
        assert torch.equal(state[0][:, :, position % SLOTS], marked(position, 1)[:, :, 0])
        assert torch.equal(state[1][:, :, position % SLOTS], -marked(position, 1)[:, :, 0])


@pytest.mark.parametrize("parts", [(1,) * 11, (4, 1, 1, 3), (3, 3, 3), (9,), (1, 2, 9), (4, 4), (2, 2, 1)], ids=str)
def test_a_ring_keeps_the_last_tokens(parts):
    state, start = ring(2, 1, SLOTS, 3, dtype=torch.float32, device=CPU), 0
    for time in parts:
        key = marked(start, time)
        if time == 1:
            write_one(state, key, -key, start, None)
        else:
            keys, values = write_many(state, key, -key, start)
            assert torch.equal(keys, marked(start - min(start, SLOTS), min(start, SLOTS) + time))
            assert torch.equal(values, -keys)
        start += time
        held(state, start)


def test_rows_of_different_lengths_write_into_different_slots():
    state = ring(2, 1, SLOTS, 3, dtype=torch.float64, device=CPU)
    lengths = torch.tensor([1, 6])
    for _ in range(5):
        key = torch.stack([marked(int(length), 1)[row] for row, length in enumerate(lengths)])
        write_one(state, key, -key, None, lengths)
        for row, length in enumerate(lengths.tolist()):
            assert torch.equal(state[0][row, :, length % SLOTS], marked(length, 1)[row, :, 0].double())
        lengths = lengths + 1


def test_a_row_shares_its_memory_and_a_selection_does_not():
    cache = Cache(3, 10, [ring(3, 2, SLOTS, 5, dtype=torch.float32, device=CPU), (torch.zeros(3, 7),)])
    assert (cache.start, cache.longest) == (0, 0)
    row = cache.row(1)
    row.layers[1][0].fill_(2)
    row.layers[0][0][:, :, 1] = 3
    row.advance(4)
    assert cache.lengths.tolist() == [0, 4, 0]
    assert (cache.start, cache.longest, row.start) == (None, 4, 4)
    assert cache.layers[1][0][:, 0].tolist() == [0, 2, 0]
    assert cache.layers[0][0].sum() == 3 * 10
    chosen = cache.select(torch.tensor([1, 1, 0, 1]))
    assert (chosen.rows, chosen.capacity, chosen.lengths.tolist()) == (4, 10, [4, 4, 0, 4])
    assert chosen.layers[1][0][:, 0].tolist() == [2, 2, 0, 2]
    chosen.layers[1][0].fill_(9)
    chosen.advance(1)
    assert cache.layers[1][0][:, 0].tolist() == [0, 2, 0]
    assert cache.lengths.tolist() == [0, 4, 0]
    cache.reset()
    assert cache.start == 0
    assert not any(tensor.any() for state in cache.layers for tensor in state)


def test_states_have_the_type_of_the_products_but_float32_on_a_cpu():
    linear = torch.nn.Linear(2, 2)
    assert state_dtype(linear) == (torch.float32, CPU)
    assert state_dtype(linear.double()) == (torch.float64, CPU)
    assert state_dtype(linear.bfloat16()) == (torch.float32, CPU)
    with torch.autocast("cpu", torch.bfloat16):
        assert state_dtype(linear.float()) == (torch.float32, CPU)

"""Randomness is counted: a draw depends on its seed and its purpose, and on nothing else."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.randomness import derive, generator


def test_seeds_are_the_same_on_every_machine():
    assert derive(0, "split") == 1_947_725_093_899_964_015
    assert derive(7, "augment", 3, "shift") == derive(7, "augment", 3, "shift")


@given(st.integers(), st.lists(st.integers() | st.text(max_size=5), max_size=3))
def test_a_seed_fits_into_63_bits(seed: int, purpose: list[object]):
    assert 0 <= derive(seed, *purpose) < 2**63


def test_every_part_counts():
    seeds = {derive(seed, purpose, step) for seed in range(10) for purpose in ("dropout", "order") for step in range(100)}
    assert len(seeds) == 2000


def test_a_generator_draws_the_same_whatever_was_drawn_before():
    first = torch.rand(5, generator=generator(1, "order", 2))
    torch.rand(100)
    generator(1, "order", 1)
    assert torch.equal(first, torch.rand(5, generator=generator(1, "order", 2)))
    assert not torch.equal(first, torch.rand(5, generator=generator(2, "order", 2)))

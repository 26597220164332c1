"""Counted randomness: every draw is a pure function of a seed and of what it is for."""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, *purpose: object) -> int:
    """A 63-bit seed that depends on `seed` and on every part of `purpose`, equal on all machines."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator seeded with `derive(seed, *purpose)`."""
    return torch.Generator().manual_seed(derive(seed, *purpose))

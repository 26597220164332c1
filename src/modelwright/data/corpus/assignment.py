"""Assignment: which split each document goes into, by its content, or for a text too large for that, by its place.

Letters: D documents.
"""

from __future__ import annotations

import math

import numpy as np

from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.shingles import FACTOR, mix

TRAIN, VALIDATION, TEST = 0, 1, 2
TOLERANCE = 0.5
"""A split of whole documents may miss its size by this share of it."""


def wanted(total: int, given: np.ndarray, config: CorpusConfig) -> dict[int, int]:
    """Bytes that are to be drawn for each split that isn't given, of `total` bytes: its share, and no more than `largest_split`."""
    shares = {TEST: config.test, VALIDATION: config.validation}
    missing = {split: share for split, share in shares.items() if share and not (given == split).any()}
    return {split: min(math.ceil(share * total), config.largest_split) for split, share in missing.items()}


def by_content(digests: np.ndarray, sizes: np.ndarray, sought: dict[int, int], seed: int) -> np.ndarray | None:
    """(D,) the split of each document: the test split gets documents in the order of their seeded digests until it is full, then validation.

    Hence a document's place in the inputs doesn't matter, and a new document moves few others.

    Args:
        digests: (D, 2) uint64.
        sizes: (D,) bytes.
        sought: bytes of the splits to be drawn.
        seed: of the order.

    Returns:
        None if documents are so large or so few that a split would miss its size by more than `TOLERANCE` of it.
    """
    splits = np.full(len(sizes), TRAIN, dtype=np.int8)
    key = mix(digests[:, 0] ^ mix(digests[:, 1] + np.uint64(seed * int(FACTOR) % 2**64)))
    order = np.lexsort((digests[:, 1], digests[:, 0], key))
    place = 0
    for split, size in sought.items():
        ends = np.cumsum(sizes[order[place:]])
        # As many documents as come nearest to the size.
        number = int(np.searchsorted(ends, size))
        if number < len(ends) and (number == 0 or ends[number] - size < size - ends[number - 1]):
            number += 1
        found = int(ends[number - 1]) if number and len(ends) else 0
        if abs(found - size) > TOLERANCE * size or place + number >= len(sizes):
            return None
        splits[order[place : place + number]] = split
        place += number
    return splits


def by_place(total: int, sought: dict[int, int]) -> list[tuple[int, int]]:
    """(split, byte where it ends) for a text of `total` bytes: training first, then validation, then test; those of no bytes left out."""
    test, validation = sought.get(TEST, 0), sought.get(VALIDATION, 0)
    ends = [(TRAIN, total - validation - test), (VALIDATION, total - test), (TEST, total)]
    return [(split, end) for place, (split, end) in enumerate(ends) if end > (ends[place - 1][1] if place else 0)]

"""The loader: which examples make which batch, as a pure function of the seed and the step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modelwright.core.batch import Batch
from modelwright.core.errors import InputError
from modelwright.core.randomness import derive, generator
from modelwright.data.augmentation import Augmentation
from modelwright.data.split import Split

MOST_ORDERED = 1 << 22
"""Examples whose order is drawn as a table; the places of more are computed one by one, which needs no memory."""
ROUNDS = 4


class Loader:
    """Batches of a split in random order, epoch after epoch, each example once an epoch.

    There is nothing to save but the step: the order is a function of (seed, epoch), and so is the shift of the windows that a text is cut
    into; a batch is a function of (seed, step), and its share of (rank, world_size).

    Args:
        split: the examples.
        batch_size: examples in a batch of all ranks together; the last batch of an epoch may be smaller, or one larger.
        seed: of order and augmentation.
        augmentations: applied one after the other.
        rank: which share of each batch this process gets.
        world_size: number of shares.

    Raises:
        InputError: the batch size is not positive, the split is empty, or an augmentation doesn't suit the examples.
    """

    def __init__(
        self, split: Split, batch_size: int, seed: int, augmentations: Sequence[Augmentation] = (), *, rank: int = 0, world_size: int = 1
    ) -> None:
        if batch_size < 1:
            raise InputError(f"a batch size of {batch_size}", expected="at least 1")
        if not len(split):
            raise InputError("the split has no examples")
        assert 0 <= rank < world_size
        for augmentation in augmentations:
            augmentation.check(split.schema)
        self.split, self.batch_size, self.seed, self.augmentations = split, batch_size, seed, tuple(augmentations)
        self.rank, self.world_size = rank, world_size
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    @property
    def steps_per_epoch(self) -> int:
        """Batches until each example was seen once; a last one of a single example joins the one before, as no batch norm can take it."""
        whole, rest = divmod(len(self.split), self.batch_size)
        return max(1, whole + (rest > 1))

    def order(self, epoch: int) -> Tensor:
        """(N,) int64: the order of all examples in `epoch`, for a split that is not too large for a table of it."""
        if epoch != self._epoch:
            self._order = torch.randperm(len(self.split), generator=generator(self.seed, "order", epoch))
            self._epoch = epoch
        return self._order

    def index(self, step: int) -> Tensor:
        """(B,) int64: positions in the split of this rank's examples at `step`, counted from 0."""
        epoch, position = divmod(step, self.steps_per_epoch)
        end = (position + 1) * self.batch_size if position < self.steps_per_epoch - 1 else len(self.split)
        if len(self.split) <= MOST_ORDERED:
            whole = self.order(epoch)[position * self.batch_size : end]
        else:
            whole = shuffled(torch.arange(position * self.batch_size, end), len(self.split), derive(self.seed, "order", epoch))
        return whole[self.rank :: self.world_size]

    def batch(self, step: int) -> Batch:
        """The batch at `step`, or this rank's share of it."""
        shift = derive(self.seed, "shift", step // self.steps_per_epoch)
        inputs, target = self.split.take(self.index(step), shift)
        if not self.augmentations:
            return self.split.finish(inputs, target)
        random = generator(self.seed, "augmentation", step, self.rank)
        for augmentation in self.augmentations:
            if "image" in inputs:
                inputs["image"] = augmentation.change(inputs["image"], random)
        batch = self.split.finish(inputs, target)
        for augmentation in self.augmentations:
            batch = augmentation.mix(batch, random, len(self.split.schema.classes))
        return batch


def shuffled(places: Tensor, count: int, seed: int) -> Tensor:
    """Where a random permutation of `count` numbers, chosen by `seed`, takes `places` (B,) int64.

    A Feistel network on the smallest even number of bits that hold `count`, applied again where it leads beyond
    (cycle walking; Black and Rogaway, Ciphers with arbitrary finite domains, 2002).
    """
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    keys = [derive(seed, "round", number) & 0x7FFFFFFF for number in range(ROUNDS)]
    found = places.clone()
    waiting = torch.ones_like(found, dtype=torch.bool)
    while waiting.any():
        left, right = found[waiting] >> half, found[waiting] & mask
        for key in keys:
            # Multiplied in int64, which wraps; the high bits are the well mixed ones.
            mixed = ((right + key) * 0x2545F4914F6CDD1D) ^ (right * key >> 7)
            mixed = ((mixed >> 29) ^ mixed) * 0x1B873593
            left, right = right, left ^ ((mixed >> 23) & mask)
        found[waiting] = (left << half) | right
        waiting = found >= count
    return found

"""The loader: which examples make which batch, as a pure function of the seed and the step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modelwright.core.batch import Batch
from modelwright.core.errors import InputError
from modelwright.core.randomness import generator
from modelwright.data.augmentation import Augmentation
from modelwright.data.split import Split


class Loader:
    """Batches of a split in random order, epoch after epoch, each example once an epoch.

    There is nothing to save but the step: the order is a function of (seed, epoch), a batch of (seed, step), and its share of
    (rank, world_size).

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
        """(N,) int64: the order of all examples in `epoch`."""
        if epoch != self._epoch:
            self._order = torch.randperm(len(self.split), generator=generator(self.seed, "order", epoch))
            self._epoch = epoch
        return self._order

    def index(self, step: int) -> Tensor:
        """(B,) int64: positions in the split of this rank's examples at `step`, counted from 0."""
        epoch, position = divmod(step, self.steps_per_epoch)
        end = (position + 1) * self.batch_size if position < self.steps_per_epoch - 1 else None
        whole = self.order(epoch)[position * self.batch_size : end]
        return whole[self.rank :: self.world_size]

    def batch(self, step: int) -> Batch:
        """The batch at `step`, or this rank's share of it."""
        inputs, target = self.split.take(self.index(step))
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

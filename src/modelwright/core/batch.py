"""What travels: batches of examples into a network, features between its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Kind = Literal["vector", "sequence", "grid"]

IGNORED = -100
"""A target that is not scored: padding, or a position that was scored in another window. PyTorch's own convention."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Encoded examples.

    Attributes:
        inputs: by name. Images: `image` (B, C, H, W) float32. Tables: `numbers` (B, N) float32 standardized, `missing` (B, N) float32
            flags, `categories` (B, M) int64 with 0 for missing and unseen. Texts: `tokens` (B, T) int64 and, where documents must not see
            each other, `documents` (B, T) int64, equal within a document.
        target: (B,) int64 class indices or (B,) float32 standardized numbers; (B, classes) float32 under mixup; (B, T) int64 next tokens,
            `IGNORED` where none is scored; None when unknown.
    """

    inputs: dict[str, Tensor]
    target: Tensor | None

    @property
    def size(self) -> int:
        """Number of examples, B."""
        return len(next(iter(self.inputs.values())))

    def first(self, number: int) -> Batch:
        """Its first examples, as a view."""
        return Batch({name: tensor[:number] for name, tensor in self.inputs.items()}, None if self.target is None else self.target[:number])

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`."""
        return Batch(
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()},
            None if self.target is None else self.target.to(device, non_blocking=True),
        )


class Features(NamedTuple):
    """Features of B examples: a vector (B, D), a sequence (B, T, D) or a grid (B, C, H, W).

    `mask` (B, T), True where a position is real, goes with a sequence of uneven lengths; None means that all are real. `documents` (B, T)
    numbers the documents that are packed into one sequence and must not see each other; None means that all is one.
    """

    x: Tensor
    mask: Tensor | None = None
    documents: Tensor | None = None


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """The shape of features, known before any data: what a part of a network gives or takes.

    Attributes:
        kind: `vector`, `sequence` or `grid`.
        width: D of a vector or a sequence, C of a grid.
        size: () for a vector, (T,) for a sequence, (H, W) for a grid.
        embedded: whether a trained embedding of just this width made them, so that no projection is needed.
    """

    kind: Kind
    width: int
    size: tuple[int, ...] = ()
    embedded: bool = False

    def __str__(self) -> str:
        dimensions = {"vector": (self.width,), "sequence": (*self.size, self.width), "grid": (self.width, *self.size)}
        return f"{self.kind} {'x'.join(map(str, dimensions[self.kind]))}"

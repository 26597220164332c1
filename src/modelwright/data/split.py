"""A split: encoded examples in memory, from which batches are gathered by index.

Letters: N examples, B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from modelwright.core.batch import Batch
from modelwright.core.schema import Schema
from modelwright.data.encoding import encode, encode_target
from modelwright.data.examples import Examples, Origins

LARGEST_INPUT = 1 << 24
"""Values of a batch in order, at most, unless one example has more: 64 MiB in float32."""


class Split:
    """N encoded examples.

    Attributes:
        schema: what was fitted on the training split.
        inputs: compact tensors of length N, as `encode` gives them.
        target: (N,) as `encode_target` gives it; None when unknown.
        origins: where each example came from.
    """

    def __init__(self, schema: Schema, inputs: dict[str, Tensor], target: Tensor | None, origins: Origins) -> None:
        self.schema, self.inputs, self.target, self.origins = schema, inputs, target, origins
        assert all(len(tensor) == len(origins) for tensor in inputs.values())
        assert target is None or len(target) == len(origins)

    @classmethod
    def of(cls, schema: Schema, examples: Examples) -> Split:
        """Encode typed examples."""
        return cls(schema, encode(schema, examples), encode_target(schema, examples), examples.origins)

    def __len__(self) -> int:
        return len(self.origins)

    @property
    def judged(self) -> int:
        """How many examples an evaluation goes through."""
        return len(self)

    @cached_property
    def _affine(self) -> tuple[Tensor, Tensor]:
        """Factor and offset (C, 1, 1) that turn a pixel in 0..255 into its encoding."""
        mean, scale = torch.tensor(self.schema.image.mean), torch.tensor(self.schema.image.scale)
        return (1 / (255 * scale)).view(-1, 1, 1), (mean / scale).view(-1, 1, 1)

    def take(self, index: Tensor | slice, shift: int = 0) -> tuple[dict[str, Tensor], Tensor | None]:
        """The compact tensors and the targets at `index`, positions (B,) or a slice; `shift` is for splits of what is cut into windows."""
        if isinstance(index, slice):
            return {name: tensor[index] for name, tensor in self.inputs.items()}, None if self.target is None else self.target[index]
        return (
            {name: tensor.index_select(0, index) for name, tensor in self.inputs.items()},
            None if self.target is None else self.target.index_select(0, index),
        )

    def finish(self, inputs: dict[str, Tensor], target: Tensor | None) -> Batch:
        """The batch of compact tensors: pixels (B, C, H, W) uint8 become float32 `(x/255 - mean) / scale`; tables are encoded already."""
        if "image" in inputs:
            factor, offset = self._affine
            inputs = {**inputs, "image": (inputs["image"] * factor).sub_(offset)}
        return Batch(inputs, target)

    def gather(self, index: Tensor) -> Batch:
        """The examples at `index` (B,), in that order."""
        return self.finish(*self.take(index))

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All examples once, in order: `batch_size` at a time, or fewer where they are large; the last batch may be smaller."""
        values = sum(tensor[:1].numel() for tensor in self.inputs.values())
        rows = max(1, min(batch_size, LARGEST_INPUT // max(1, values)))
        for start in range(0, len(self), rows):
            yield self.finish(*self.take(slice(start, start + rows)))

    def sample(self, size: int) -> Split:
        """At most `size` examples, evenly spread over the split."""
        if len(self) <= size:
            return self
        index = torch.linspace(0, len(self) - 1, size, dtype=torch.float64).long()
        inputs, target = self.take(index)
        return Split(self.schema, inputs, target, self.origins.take(index.numpy()))

    def update_digest(self, digest: Any) -> None:
        """Feed all encoded examples, in order, to a hash of `hashlib`."""
        for tensor in (*self.inputs.values(), *([] if self.target is None else [self.target])):
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")

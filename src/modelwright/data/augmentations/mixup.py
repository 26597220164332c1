"""Mixup: each example is blended with another one, and so are their targets."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Generator
from torch.nn import functional as F

from modelwright.core.batch import Batch
from modelwright.core.errors import InputError
from modelwright.core.schema import Schema
from modelwright.core.space import Between
from modelwright.data.augmentation import Augmentation, augmentations


@augmentations.register("mixup")
class Mixup(Augmentation):
    """Blends an encoded batch with a permutation of itself by one share, drawn from Beta(alpha, alpha) (Zhang et al. 2018, equation 1)."""

    name: Literal["mixup"] = "mixup"
    alpha: Annotated[float, Between(0.05, 1.0, logarithmic=True)] = Field(default=0.2, gt=0)
    """The larger, the nearer to halves."""

    def check(self, schema: Schema) -> None:
        """See that there is something to blend.

        Raises:
            InputError: a table has category columns, which have no values between two others.
        """
        if schema.categories:
            raise InputError(f"mixup can't blend the category column {schema.categories[0].name!r}", expected="images or numbers")

    def mix(self, batch: Batch, generator: Generator, classes: int) -> Batch:
        """Blend inputs and targets; class indices (B,) become shares (B, classes)."""
        assert batch.target is not None
        share = draw_beta(self.alpha, generator)
        other = torch.randperm(batch.size, generator=generator)
        inputs = {
            name: tensor.lerp(tensor[other], 1 - share) if tensor.is_floating_point() else tensor for name, tensor in batch.inputs.items()
        }
        target = batch.target
        if classes and target.ndim == 1:
            target = F.one_hot(target, classes).float()
        return Batch(inputs, target.lerp(target[other], 1 - share))


def draw_beta(alpha: float, generator: Generator) -> float:
    """A number in 0..1 drawn from Beta(alpha, alpha); PyTorch draws it only without a generator, so NumPy is seeded from ours."""
    seed = int(torch.randint(1 << 62, (), generator=generator))
    return float(np.random.default_rng(seed).beta(alpha, alpha))

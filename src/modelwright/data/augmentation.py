"""Augmentation: random changes of training examples that leave their meaning as it is. A new one is a new file in `augmentations/`.

Letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from torch import Generator, Tensor

from modelwright.core.batch import Batch
from modelwright.core.config import Config
from modelwright.core.errors import InputError
from modelwright.core.registry import Registry
from modelwright.core.schema import Schema


class Augmentation(Config):
    """A random change. A kind of it has a field `name`, and overrides `change` (of raw pixels) or `mix` (of an encoded batch)."""

    def check(self, schema: Schema) -> None:
        """See that it can be used on examples of `schema`.

        Raises:
            InputError: it can't.
        """

    def change(self, images: Tensor, generator: Generator) -> Tensor:
        """Change raw images (B, C, H, W) uint8, where black is 0."""
        return images

    def mix(self, batch: Batch, generator: Generator, classes: int) -> Batch:
        """Change an encoded batch; `classes` is the number of classes, 0 where the target is a number."""
        return batch


class ImageAugmentation(Augmentation):
    """A random change of pixels."""

    def check(self, schema: Schema) -> None:
        """See that there are images.

        Raises:
            InputError: the inputs are a table.
        """
        if schema.kind != "image":
            raise InputError(f"the augmentation {getattr(self, 'name', type(self).__name__)} changes images, and the inputs are a table")


augmentations: Registry[type[Augmentation]] = Registry("augmentation", "modelwright.data.augmentations")

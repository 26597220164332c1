"""Translation of images: a window of the original size, cut out of padded images at a place of each image's own.

Letters: B batch, C channels, H height, W width, P padding.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

Border = Literal["black", "mirror"]


def translate(images: Tensor, padding: int, border: Border, generator: Generator) -> Tensor:
    """Each image (B, C, H, W) moved by a random number of whole pixels, from -P to P, down and to the right.

    What comes in from outside is black or the mirrored image.
    """
    height, width = images.shape[2:]
    if border == "mirror":
        index_y, index_x = _mirrored(height, padding), _mirrored(width, padding)
        padded = images[:, :, index_y][:, :, :, index_x]
    else:
        padded = F.pad(images, (padding, padding, padding, padding))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2P+1, 2P+1, H, W), a view
    top, left = torch.randint(2 * padding + 1, (2, len(images)), generator=generator)
    return windows[torch.arange(len(images)), :, top, left]


def _mirrored(length: int, padding: int) -> Tensor:
    """Positions that continue 0 .. length-1 on both sides as in a mirror, the border not repeated."""
    period = max(1, 2 * (length - 1))
    position = torch.arange(-padding, length + padding) % period
    return torch.minimum(position, period - position)

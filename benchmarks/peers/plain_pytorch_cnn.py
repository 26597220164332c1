"""Plain PyTorch, the CNN of the common Keras example: 3x3 convolutions of 32, 64 and 64 channels without padding, then Dense 64 and 10."""

from __future__ import annotations

from plain_pytorch import main
from torch import nn


def build() -> nn.Module:
    """(B, 1, 28, 28) -> (B, 10); 93,322 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(576, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


if __name__ == "__main__":
    main(build)

"""The convolutional family against plain PyTorch, and grids that are too small for it."""

from __future__ import annotations

import pytest
import torch
from harness.families import image
from torch import nn

from modelwright.core.batch import FeatureSpec
from modelwright.core.errors import InputError
from modelwright.models.cnn import CNNConfig
from modelwright.models.network import build_network

COMMON = CNNConfig(channels=(32, 64, 64), blocks=1, downsample=(2, 2, 1), padding="valid", norm="none", pool="flatten", hidden=(64,))


def common_sequential() -> nn.Sequential:
    """The network of the common introductions, as one would write it in PyTorch."""
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


def test_it_is_the_common_network():
    ours, plain = build_network(image(1, 28, 28), COMMON, 10), common_sequential()
    assert sum(parameter.numel() for parameter in ours.parameters()) == 93_322
    with torch.no_grad():
        for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
            theirs.copy_(mine)
    x = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    mine, theirs = ours({"image": x}), plain(x)
    # Channels-last convolutions sum in another order.
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)
    mine.square().sum().backward()
    theirs.square().sum().backward()
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("size", "residual", "left"),
    [
        ((8, 8), False, [(4, 4), (4, 4), (4, 4)]),
        ((28, 28), False, [(14, 14), (7, 7), (7, 7)]),
        ((32, 20), False, [(16, 10), (8, 5), (8, 5)]),
        ((3, 3), False, [(3, 3)] * 3),
        ((28, 28), True, [(28, 28), (14, 14), (7, 7)]),
        ((7, 7), True, [(7, 7), (4, 4), (4, 4)]),
    ],
)
def test_automatic_downsampling_keeps_sides_of_at_least_four(size, residual, left):
    config = CNNConfig(residual=residual)
    assert [stage.size for stage in config.stages(size)] == left
    backbone = config.replace(pool="none").build(FeatureSpec("grid", 1, size))
    assert backbone.gives == FeatureSpec("grid", 64, left[-1])
    assert backbone.blocks(torch.zeros(2, 1, *size)).shape == (2, 64, *left[-1])


@pytest.mark.parametrize(
    "config", [COMMON, CNNConfig(channels=(4,) * 4, downsample=(2,) * 4), CNNConfig(channels=(4, 4), kernel=5, padding="valid")]
)
def test_a_grid_that_is_too_small_says_which_would_fit(config: CNNConfig):
    with pytest.raises(InputError) as error:
        config.build(FeatureSpec("grid", 1, (6, 40)))
    assert "the family cnn with these settings doesn't fit a grid of 6x40" in str(error.value)
    fits = int(str(error.value).split("at least ")[1].split("x")[0])
    assert config.build(FeatureSpec("grid", 1, (fits, fits)))
    with pytest.raises(InputError):
        config.build(FeatureSpec("grid", 1, (fits - 1, fits - 1)))


def test_a_deeper_network_fits_wherever_a_shallow_one_does():
    assert COMMON.scaled(depth=3).stages((28, 28)) == COMMON.stages((28, 28))
    assert COMMON.scaled(width=0.5) == COMMON.replace(channels=(16, 32, 32), hidden=(32,))


@pytest.mark.parametrize(("size", "width"), [((8, 8), 4 * 4 * 64), ((32, 32), 8 * 8 * 64), ((36, 36), 64)])
def test_automatic_pooling_keeps_the_places_of_a_small_grid(size, width):
    assert CNNConfig().build(FeatureSpec("grid", 1, size)).gives == FeatureSpec("vector", width)

"""Convolution blocks: their order of work, their shortcut, their norms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelwright.nn.convolution import ConvolutionBlock, ResidualBlock
from modelwright.nn.initialization import init_weights
from modelwright.nn.normalization import grid_norm, num_groups, sequence_norm, vector_norm

X = torch.randn(3, 4, 7, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["relu", "tanh", "silu", "gelu"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_pooling_gives_what_it_gives_behind_the_activation(name, norm):
    block = ConvolutionBlock(4, 8, pool=2, norm=norm, activation_name=name)
    init_weights(block, 0)
    if norm == "batch":
        nn.init.normal_(block[1].weight)  # a negative scale turns the order of values around before the pooling
    kinds = [type(part) for part in block]
    early = kinds.index(nn.MaxPool2d) < len(kinds) - 1
    assert early is (name in ("relu", "tanh"))
    parts = [part for part in block if not isinstance(part, nn.MaxPool2d)]
    torch.testing.assert_close(block(X), nn.functional.max_pool2d(nn.Sequential(*parts)(X), 2))
    assert (block[0].bias is None) is (norm == "batch")


@pytest.mark.parametrize(("channels", "stride", "projected"), [(4, 1, False), (4, 2, True), (8, 1, True)])
def test_residual_block_adds_its_input(channels, stride, projected):
    block = ResidualBlock(4, channels, stride=stride, norm="none").eval()
    init_weights(block, 0)
    assert isinstance(block.shortcut, nn.Identity) is not projected
    with torch.no_grad():
        block.branch[3].weight.zero_()
    side = -(-7 // stride)
    expected = block.shortcut(X).relu()
    assert expected.shape == (3, channels, side, side)
    torch.testing.assert_close(block(X), expected)


def test_group_and_layer_norm_of_a_grid():
    assert [num_groups(channels) for channels in (1, 6, 7, 12, 32, 50, 11)] == [1, 6, 7, 6, 8, 5, 1]
    layer = grid_norm("layer", 4)(X)
    torch.testing.assert_close(layer, nn.functional.layer_norm(X, X.shape[1:]))
    group = grid_norm("group", 4)(X)
    torch.testing.assert_close(group.mean((2, 3)), torch.zeros(3, 4), atol=1e-6, rtol=0)
    batch = grid_norm("batch", 4)(X)
    torch.testing.assert_close(batch.mean((0, 2, 3)), torch.zeros(4), atol=1e-6, rtol=0)
    assert grid_norm("none", 4)(X) is X


def test_norms_of_vectors_and_sequences():
    x = X.flatten(1)
    torch.testing.assert_close(vector_norm("batch", x.shape[1])(x).mean(0), torch.zeros(x.shape[1]), atol=1e-6, rtol=0)
    torch.testing.assert_close(vector_norm("layer", x.shape[1])(x).mean(1), torch.zeros(3), atol=1e-6, rtol=0)
    sequence = x.unflatten(1, (-1, 28))
    rms = sequence_norm("rms", 28)(sequence)
    torch.testing.assert_close(rms.square().mean(-1), torch.ones(3, 7), atol=1e-3, rtol=0)
    torch.testing.assert_close(sequence_norm("layer", 28)(sequence).mean(-1), torch.zeros(3, 7), atol=1e-6, rtol=0)

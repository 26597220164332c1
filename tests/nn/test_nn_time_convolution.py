"""Convolution over time against PyTorch's, onward and both ways, and within documents."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from modelwright.nn.initialization import init_weights
from modelwright.nn.time_convolution import TimeConvolution

B, T, D = 3, 9, 4
X = torch.randn(B, T, D, generator=torch.Generator().manual_seed(0))


def layer(kernel: int, *, causal: bool) -> TimeConvolution:
    made = TimeConvolution(D, kernel, causal=causal)
    init_weights(made, 0)
    return made


@pytest.mark.parametrize("kernel", [2, 3, 4, 12])
@pytest.mark.parametrize("causal", [True, False])
def test_it_is_a_depthwise_convolution(kernel, causal):
    ours = layer(kernel, causal=causal)
    before = kernel - 1 if causal else (kernel - 1) // 2
    x_BDT = F.pad(X.transpose(1, 2), (before, kernel - 1 - before))
    theirs = F.conv1d(x_BDT, ours.weight.t()[:, None], groups=D).transpose(1, 2)
    torch.testing.assert_close(ours(X), theirs, atol=1e-6, rtol=1e-5)


def test_documents_and_padding_are_as_alone():
    ours = layer(4, causal=True)
    documents = torch.tensor([[1] * 9, [1] * 2 + [2] * 7, [0] + [3] * 4 + [0] * 4])
    packed = ours(X, None, documents)
    torch.testing.assert_close(packed[1, 2:], ours(X[1:2, 2:])[0])
    torch.testing.assert_close(packed[2, 5:], ours(X[2:3, 5:])[0])
    both_ways, mask = layer(3, causal=False), torch.arange(T) < torch.tensor([9, 4, 1])[:, None]
    noisy = torch.where(mask[:, :, None], X, 1e3)
    for row, length in enumerate((9, 4, 1)):
        torch.testing.assert_close(both_ways(noisy, mask)[row, :length], both_ways(X[row : row + 1, :length])[0])


@torch.no_grad()
def test_a_state_is_gone_on_from_even_if_shorter_than_the_kernel():
    ours = layer(4, causal=True)
    state = ours.new_state(B)
    parts = [ours(part, state=state) for part in X.split((1, 1, 2, 5), dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), ours(X))
    assert torch.equal(state[0], X[:, -3:])

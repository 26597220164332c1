"""Counts: FLOPs of texts against formulas, attention, recurrent layers and the head included."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from modelwright.planning.count import Count, count

B, T, D, V, H = 2, 12, 8, 30, 2


class Text(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.stem, self.backbone, self.head = nn.Embedding(V, D), backbone, nn.Linear(D, V)

    def forward(self, inputs):
        x = self.backbone(self.stem(inputs["tokens"]))
        return self.head(x[0] if isinstance(x, tuple) else x)


class Attention(nn.Module):
    def __init__(self, kv_heads=H):
        super().__init__()
        self.kv = kv_heads * D // H
        self.qkv, self.out = nn.Linear(D, D + 2 * self.kv), nn.Linear(D, D)

    def forward(self, x):
        q, k, v = (part.unflatten(2, (-1, D // H)).transpose(1, 2) for part in self.qkv(x).split([D, self.kv, self.kv], dim=2))
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.kv < D).transpose(1, 2).flatten(2))


def counted(backbone):
    with torch.device("meta"):
        return count(Text(backbone()), {"tokens": torch.zeros(B, T, dtype=torch.int64)})


HEAD = 2 * T * D * V


@pytest.mark.parametrize(("cell", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_recurrent_layers_are_counted(cell, gates):
    found = counted(lambda: cell(D, D, 2, batch_first=True))
    assert found.flops == HEAD + 2 * T * gates * 4 * D * D


class Products(TorchDispatchMode):
    """Counts the products of matrices."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_layers_are_counted_at_once(cell):
    with Products() as products:
        counted(lambda: cell(D, D, 2, batch_first=True))
    assert products.number == 2 * 2 + 1, "a product a weight and layer, and the head"


def test_both_directions_are_counted():
    found = counted(lambda: nn.LSTM(D, D // 2, 2, batch_first=True, bidirectional=True))
    assert found.flops == HEAD + 2 * T * 2 * 4 * (D // 2) * (2 * D + D)


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_attention_is_counted_in_full(kv_heads):
    found = counted(lambda: Attention(kv_heads))
    projections = 2 * T * D * (2 * D + 2 * kv_heads * D // H)
    assert found.flops == HEAD + projections + 2 * (2 * T * T * D)


def test_per_token_is_the_mean_of_a_window():
    found = counted(lambda: nn.Linear(D, D))
    assert found.tokens == T
    assert found.flops_per_token == 2 * D * D + 2 * D * V
    assert found.training_flops_per_token == 3 * found.flops_per_token
    assert found.parameters == {"stem": V * D, "backbone": D * D + D, "head": D * V + V}
    assert Count({}, 10).training_flops_per_token == 30


def test_real_kernels_are_not_counted_by_mistake():
    with pytest.raises(AssertionError, match="meta"):
        count(Text(nn.Linear(D, D)), {"tokens": torch.zeros(B, T, dtype=torch.int64)})

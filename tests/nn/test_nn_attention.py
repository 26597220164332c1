"""Attention and the encoder block against PyTorch's own, and what rotary positions promise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelwright.nn.attention import Attention, attend
from modelwright.nn.encoder import EncoderBlock
from modelwright.nn.initialization import init_weights
from modelwright.nn.positions import RotaryPositions

B, T, D, H = 3, 5, 8, 2
MASK = torch.arange(T) < torch.tensor([5, 2, 4])[:, None]


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.project.weight)
        theirs.in_proj_bias.copy_(ours.project.bias.normal_())
        theirs.out_proj.weight.copy_(ours.output.weight)
        theirs.out_proj.bias.copy_(ours.output.bias.normal_())


@pytest.mark.parametrize("mask", [None, MASK], ids=["full", "masked"])
def test_attention_is_that_of_pytorch(mask):
    ours, theirs = Attention(D, H), nn.MultiheadAttention(D, H, batch_first=True)
    copy_attention(ours, theirs)
    x = random(B, T, D)
    expected, _ = theirs(x, x, x, key_padding_mask=None if mask is None else ~mask, need_weights=False)
    torch.testing.assert_close(ours(x, mask), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["relu", "gelu"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["full", "masked"])
def test_encoder_block_is_that_of_pytorch(mask, name):
    ours = EncoderBlock(D, H, 3 * D, activation_name=name)
    theirs = nn.TransformerEncoderLayer(D, H, 3 * D, activation=name, batch_first=True, norm_first=True, dropout=0.0)
    with torch.no_grad():
        for norm in (ours.attention_norm, ours.feedforward_norm):
            norm.weight.normal_()
            norm.bias.normal_()
    copy_attention(ours.attention, theirs.self_attn)
    theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
    theirs.norm2.load_state_dict(ours.feedforward_norm.state_dict())
    theirs.linear1.load_state_dict(ours.feedforward.expand.state_dict())
    theirs.linear2.load_state_dict(ours.feedforward.output.state_dict())
    x = random(B, T, D)
    expected = theirs(x, src_key_padding_mask=None if mask is None else ~mask)
    real = slice(None) if mask is None else mask
    torch.testing.assert_close(ours(x, mask)[real], expected[real], atol=1e-5, rtol=1e-5)


def test_rotary_products_depend_on_the_distance_alone():
    rotary = RotaryPositions(40, D)
    query, key = random(2, D).double()
    for distance in (0, 3, 11):
        products = [
            (rotary(query.expand(1, 1, 1, D), start=start + distance) * rotary(key.expand(1, 1, 1, D), start=start)).sum().item()
            for start in (0, 1, 20)
        ]
        assert products == pytest.approx([products[0]] * 3, abs=1e-5)
    assert torch.equal(rotary(query.expand(1, 1, 1, D)).flatten(), query)


def test_rotary_keeps_lengths_and_is_the_rotation_of_the_paper():
    rotary = RotaryPositions(T, 4, base=100.0)
    x = random(1, 1, T, 4)
    turned = rotary(x)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    for position in range(T):
        for plane, angle in enumerate((position * 1.0, position * 0.1)):
            z = torch.complex(x[0, 0, position, plane], x[0, 0, position, plane + 2]) * torch.polar(torch.tensor(1.0), torch.tensor(angle))
            torch.testing.assert_close(turned[0, 0, position, [plane, plane + 2]], torch.stack((z.real, z.imag)), atol=1e-6, rtol=1e-5)


def test_rotary_attention_tells_the_order_and_plain_attention_does_not():
    order = torch.tensor([2, 0, 1, 4, 3])
    x = random(B, T, D)
    for rotary, equivariant in ((None, True), (RotaryPositions(T, D // H), False)):
        attention = Attention(D, H, rotary=rotary)
        init_weights(attention, 0)
        assert torch.allclose(attention(x)[:, order], attention(x[:, order]), atol=1e-5) is equivariant


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_of_rotary_attention(masked):
    attention = Attention(4, 2, rotary=RotaryPositions(3, 2)).double()
    init_weights(attention, 0)
    mask = torch.tensor([[True, True, False], [True, True, True]]) if masked else None
    x = random(2, 3, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: attention(x, mask), (x,))


def test_attention_drops_weights_only_in_training():
    attention = Attention(D, H, dropout=0.5)
    x = random(B, T, D)
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))


@pytest.mark.parametrize("mask", [None, MASK[:, None, None, :]], ids=["full", "masked"])
def test_both_ways_of_attending_agree(mask, monkeypatch):
    query, key, value = random(3, B, H, T, 4).bfloat16().requires_grad_()
    plain = attend(query, key, value, mask)
    monkeypatch.setattr("modelwright.nn.attention._SHORT", 0)
    fused = attend(query, key, value, mask)
    # bfloat16 has 8 bits of precision, and each way rounds a few times.
    torch.testing.assert_close(plain, fused, atol=0.02, rtol=0.02)
    assert plain.dtype == torch.bfloat16
    monkeypatch.undo()
    assert not torch.equal(attend(query, key, value, mask, dropout=0.5), plain)


def test_rotary_attention_is_the_same_wherever_a_sequence_lies():
    attention = Attention(D, H, rotary=RotaryPositions(T + 3, D // H))
    init_weights(attention, 0)
    x = random(B, T, D)
    later = torch.cat((torch.full((B, 3, D), 7.0), x), dim=1)
    mask = (torch.arange(T + 3) >= 3).expand(B, -1)
    torch.testing.assert_close(attention(later, mask)[:, 3:], attention(x), atol=1e-5, rtol=1e-4)

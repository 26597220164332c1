"""Attention and the block against PyTorch's own and the textbook, and what rotary positions and ALiBi promise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelwright.nn.attention import Attention, attend
from modelwright.nn.block import Block
from modelwright.nn.feedforward import FeedForward
from modelwright.nn.initialization import init_weights
from modelwright.nn.positions import RotaryPositions, alibi_slopes, rotate
from modelwright.nn.sight import Sight, whole

B, T, D, H = 3, 5, 8, 2
MASK = torch.arange(T) < torch.tensor([5, 2, 4])[:, None]


def sight(mask: torch.Tensor | None = None, rotary: RotaryPositions | None = None, *, time: int = T, dtype=torch.float32) -> Sight:
    return Sight(whole(mask, None, time, None), turn=None if rotary is None else rotary(time, 0, dtype))


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
    torch.testing.assert_close(ours(x, sight(mask)), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["relu", "gelu"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["full", "masked"])
def test_a_block_is_that_of_pytorch(mask, name):
    ours = Block(D, Attention(D, H), FeedForward(D, 3 * D, inner=name))
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
    torch.testing.assert_close(ours(x, sight(mask))[real], expected[real], atol=1e-5, rtol=1e-5)


def turned(rotary: RotaryPositions, x: torch.Tensor, start: int = 0) -> torch.Tensor:
    """Heads (B, H, T, K), turned."""
    return rotate(x.transpose(1, 2), rotary(x.shape[2], start, x.dtype)).transpose(1, 2)


def test_rotary_products_depend_on_the_distance_alone():
    rotary = RotaryPositions(40, D)
    query, key = random(2, D).double()
    for distance in (0, 3, 11):
        products = [
            (turned(rotary, query.expand(1, 1, 1, D), start + distance) * turned(rotary, key.expand(1, 1, 1, D), start)).sum().item()
            for start in (0, 1, 20)
        ]
        assert products == pytest.approx([products[0]] * 3, abs=1e-5)
    assert torch.equal(turned(rotary, query.expand(1, 1, 1, D)).flatten(), query)


def test_rotary_keeps_lengths_and_is_the_rotation_of_the_paper():
    rotary = RotaryPositions(T, 4, base=100.0)
    x = random(1, 1, T, 4)
    y = turned(rotary, x)
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))
    for position in range(T):
        for plane, angle in enumerate((position * 1.0, position * 0.1)):
            z = torch.complex(x[0, 0, position, plane], x[0, 0, position, plane + 2]) * torch.polar(torch.tensor(1.0), torch.tensor(angle))
            torch.testing.assert_close(y[0, 0, position, [plane, plane + 2]], torch.stack((z.real, z.imag)), atol=1e-6, rtol=1e-5)


def test_rotary_attention_tells_the_order_and_plain_attention_does_not():
    order = torch.tensor([2, 0, 1, 4, 3])
    x = random(B, T, D)
    for rotary, equivariant in ((None, True), (RotaryPositions(T, D // H), False)):
        attention = Attention(D, H)
        init_weights(attention, 0)
        seen = sight(None, rotary)
        assert torch.allclose(attention(x, seen)[:, order], attention(x[:, order], seen), atol=1e-5) is equivariant


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "settings", [{}, {"num_kv_heads": 1}, {"causal": True, "window": 2, "qk_norm": "rms"}], ids=["plain", "multi-query", "window"]
)
def test_gradients_of_rotary_attention(masked, settings):
    attention = Attention(4, 2, **settings).double()
    init_weights(attention, 0)
    mask = torch.tensor([[True, True, False], [True, True, True]]) if masked else None
    seen = sight(mask, RotaryPositions(3, 2), time=3, dtype=torch.float64)
    x = random(2, 3, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: attention(x, seen), (x,))


def test_attention_drops_weights_only_in_training():
    attention = Attention(D, H, dropout=0.5)
    x = random(B, T, D)
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))


def naive(query, key, value, mask=None, *, causal=False, window=None):
    """The textbook, one query at a time."""
    heads = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(heads, 1), value.repeat_interleave(heads, 1)
    before = key.shape[2] - query.shape[2]
    out = torch.empty_like(query)
    for t in range(query.shape[2]):
        score = (query[:, :, t, None] * key).sum(-1) / query.shape[-1] ** 0.5
        if mask is not None:
            row = mask.expand(*query.shape[:3], key.shape[2])[:, :, t]
            score = score.masked_fill(~row, -torch.inf) if row.dtype == torch.bool else score + row
        for s in range(key.shape[2]):
            if causal and (s > before + t or (window is not None and s <= before + t - window)):
                score[:, :, s] = -torch.inf
        out[:, :, t] = (score.softmax(-1)[..., None] * value).sum(2)
    return out


MASKS = {
    "full": lambda t, s: None,
    "documents": lambda t, s: (torch.arange(s - t, s)[:, None] // 5 == torch.arange(s) // 5)[None, None],
    "bias": lambda t, s: random(2, 4, t, s),
    "keys": lambda t, s: (torch.arange(s) % 7 != 3).expand(2, 1, 1, s) | torch.eye(s, dtype=torch.bool)[None, None, s - t :],
}


@pytest.mark.parametrize("mask", list(MASKS))
@pytest.mark.parametrize("shared", [4, 2, 1], ids="kv{}".format)
@pytest.mark.parametrize(("time", "seen"), [(16, 16), (13, 13), (5, 16)])
@pytest.mark.parametrize("order", [(False, None), (True, None), (True, 1), (True, 3), (True, 9), (True, 40)], ids=str)
def test_every_way_of_attending_is_the_textbook(order, time, seen, shared, mask, monkeypatch):
    causal, window = order
    monkeypatch.setattr("modelwright.nn.attention._CHUNK", 4)
    query, key, value = random(2, 4, time, 6), random(2, shared, seen, 6) * 1.5, random(2, shared, seen, 6) + 1
    given = MASKS[mask](time, seen)
    expected = naive(query, key, value, given, causal=causal, window=window)
    for plain in (False, True):
        monkeypatch.setattr("modelwright.nn.attention._plain_is_faster", lambda *_, plain=plain, **__: plain)
        found = attend(query, key, value, given, causal=causal, window=window)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_heads", [1, 2, 8, 16])
def test_alibi_slopes_are_those_of_the_paper(num_heads):
    assert alibi_slopes(num_heads) == [2 ** (-8 / num_heads * (head + 1)) for head in range(num_heads)]


def test_alibi_slopes_between_powers_of_two_take_every_other_one_of_the_next():
    assert alibi_slopes(6) == [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]


def test_alibi_adds_the_distance_times_the_slope():
    slopes = torch.tensor(alibi_slopes(2))
    added = whole(None, None, 4, slopes)
    for head, slope in enumerate((2**-4, 2**-8)):
        for query in range(4):
            for key in range(4):
                assert added[0, head, query, key] == -slope * abs(query - key)
    masked = whole(torch.tensor([[True, True, True, False]]), torch.tensor([[0, 0, 1, 1]]), 4, slopes)
    assert (masked[0, 0] == -torch.inf).tolist() == [[False, False, True, True]] * 2 + [[True, True, False, True]] * 2


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
    rotary, attention = RotaryPositions(T + 3, D // H), Attention(D, H)
    init_weights(attention, 0)
    x = random(B, T, D)
    later = torch.cat((torch.full((B, 3, D), 7.0), x), dim=1)
    mask = (torch.arange(T + 3) >= 3).expand(B, -1)
    there, here = attention(later, sight(mask, rotary, time=T + 3)), attention(x, sight(None, rotary))
    torch.testing.assert_close(there[:, 3:], here, atol=1e-5, rtol=1e-4)

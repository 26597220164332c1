"""Dropout: of single values, and with a mask that is shared over time, or by all places of a token."""

from __future__ import annotations

import pytest
import torch

from modelwright.core.batch import Features, FeatureSpec
from modelwright.nn.dropout import Dropout, LockedDropout, TokenDropout, drop
from modelwright.nn.initialization import init_weights
from modelwright.nn.recurrent import Recurrent

B, T, D, V, P = 8, 5, 64, 40, 0.3


@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_are_dropped_independently_with_the_asked_probability(p, dtype):
    torch.manual_seed(0)
    count = 200_003  # no multiple of the four values that one draw decides on
    out = drop(torch.ones(count, dtype=dtype), p)
    torch.testing.assert_close(out.unique(), torch.tensor([0, 1 / (1 - p)], dtype=dtype))
    dropped = (out == 0).double()
    five_sigma = 5 * (p * (1 - p) / count) ** 0.5
    assert abs(dropped.mean() - p) < five_sigma
    for lag in (1, 2, 3, 4):
        together = (dropped[lag:] * dropped[:-lag]).mean()
        assert abs(together - p * p) < 3 * five_sigma
    assert not torch.equal(drop(torch.ones(count, dtype=dtype), p), out)


def test_a_seed_decides_what_is_dropped_and_the_gradient_passes_where_the_value_did():
    x = torch.ones(7, 9, 2, requires_grad=True)
    outs = []
    for _ in range(2):
        torch.manual_seed(3)
        outs.append(Dropout(P).train()(x.transpose(0, 1)))
    assert torch.equal(outs[0], outs[1])
    outs[0].sum().backward()
    assert torch.equal(x.grad, outs[0].detach().transpose(0, 1))


def test_a_locked_mask_is_the_same_at_every_moment_and_differs_between_examples():
    torch.manual_seed(0)
    out_BTD = LockedDropout(P).train()(torch.ones(B, T, D))
    assert (out_BTD == out_BTD[:, :1]).all()
    assert not torch.equal(out_BTD[0], out_BTD[1])
    torch.testing.assert_close(out_BTD.unique(), torch.tensor([0, 1 / (1 - P)]))
    assert abs((out_BTD[:, 0] == 0).float().mean() - P) < 0.1


def test_a_dropped_token_is_dropped_wherever_it_stands():
    torch.manual_seed(0)
    tokens_BT = torch.randint(V, (B, 20))
    out = TokenDropout(V, P).train()(torch.ones(B, 20, 2), tokens_BT)
    values = {int(token): out[tokens_BT == token].unique().tolist() for token in tokens_BT.unique()}
    assert all(len(found) == 1 for found in values.values())
    dropped = [token for token, found in values.items() if found == [0]]
    assert 0.1 < len(dropped) / len(values) < 0.5


def test_nothing_is_dropped_in_evaluation():
    x_BTD = torch.randn(B, T, D)
    assert Dropout(P).eval()(x_BTD) is x_BTD
    assert LockedDropout(P).eval()(x_BTD) is x_BTD
    assert TokenDropout(V, P).eval()(x_BTD, torch.zeros(B, T, dtype=torch.int64)) is x_BTD


def test_a_locked_stack_drops_between_its_layers_at_every_moment():
    stack = Recurrent("lstm", FeatureSpec("sequence", D, (T,)), D, 2, dropout=P, output_dropout=P, locked=True, pool="none").train()
    init_weights(stack, 0)
    between = []
    stack.layers[1].register_forward_pre_hook(lambda _, arguments: between.append(arguments[0]))
    torch.manual_seed(0)
    out_BTD = stack(Features(torch.randn(B, T, D))).x
    for seen_BTD in (between[0], out_BTD):
        dropped_BTD = seen_BTD == 0
        assert torch.equal(dropped_BTD, dropped_BTD[:, :1].expand_as(dropped_BTD))
        assert 0.2 < dropped_BTD.float().mean() < 0.4

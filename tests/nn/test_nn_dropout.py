"""Dropout whose mask is shared: over time, or by all places of a token."""

from __future__ import annotations

import torch

from modelwright.core.batch import Features, FeatureSpec
from modelwright.nn.dropout import LockedDropout, TokenDropout
from modelwright.nn.initialization import init_weights
from modelwright.nn.recurrent import Recurrent

B, T, D, V, P = 8, 5, 64, 40, 0.3


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

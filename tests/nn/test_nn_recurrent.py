"""Recurrent layers against PyTorch's own, and sequences of uneven lengths against each one alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelwright.core.batch import Features, FeatureSpec
from modelwright.nn.initialization import init_weights
from modelwright.nn.recurrent import Recurrent

B, T, D, WIDTH = 4, 6, 3, 5
SPEC = FeatureSpec("sequence", D, (T,))
LENGTHS = (6, 1, 4, 5)
MASK = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
X = torch.randn(B, T, D, generator=torch.Generator().manual_seed(0))
CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def stacked(ours: Recurrent) -> dict[str, torch.Tensor]:
    """The weights as PyTorch names them in a stack."""
    return {
        name.replace("_l0", f"_l{number}"): weight
        for number, layer in enumerate(ours.layers)
        for name, weight in layer.rnn.state_dict().items()
    }


def pair(cell, *, bidirectional: bool, pool="last") -> tuple[Recurrent, nn.RNNBase]:
    ours = Recurrent(cell, SPEC, WIDTH, 2, bidirectional=bidirectional, dropout=0.5, pool=pool).eval()
    init_weights(ours, 0)
    theirs = CELLS[cell](D, WIDTH, 2, batch_first=True, bidirectional=bidirectional)
    theirs.load_state_dict(stacked(ours))
    return ours, theirs


def final_state(theirs: nn.RNNBase, x: torch.Tensor) -> torch.Tensor:
    _, state = theirs(x)
    hidden = state[0] if isinstance(state, tuple) else state
    return torch.cat(list(hidden[-2:] if theirs.bidirectional else hidden[-1:]), dim=-1)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", list(CELLS))
def test_full_sequences(cell, bidirectional):
    ours, theirs = pair(cell, bidirectional=bidirectional)
    assert torch.equal(ours(Features(X)).x, final_state(theirs, X))
    assert ours.gives == FeatureSpec("vector", WIDTH * (1 + bidirectional))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("pool", ["last", "mean", "max", "none"])
def test_padded_sequences_are_each_as_alone(cell, bidirectional, pool):
    ours, theirs = pair(cell, bidirectional=bidirectional, pool=pool)
    together = ours(Features(X, MASK)).x
    for row, length in enumerate(LENGTHS):
        x = X[row : row + 1, :length]
        out = theirs(x)[0][0]
        expected = {
            "last": lambda x=x: final_state(theirs, x)[0],
            "mean": lambda o=out: o.mean(0),
            "max": lambda o=out: o.amax(0),
            "none": lambda o=out: o,
        }
        mine = together[row, :length] if pool == "none" else together[row]
        torch.testing.assert_close(mine, expected[pool](), atol=1e-6, rtol=1e-5)


def test_padding_gets_no_gradient():
    for bidirectional in (False, True):
        ours, _ = pair("lstm", bidirectional=bidirectional)
        x = X.clone().requires_grad_()
        ours(Features(x, MASK)).x.sum().backward()
        assert x.grad is not None
        assert (x.grad[~MASK] == 0).all()
        assert (x.grad[MASK].abs().sum(-1) > 0).all()


def test_dropout_lies_between_layers_and_only_in_training():
    ours, _ = pair("gru", bidirectional=False)
    ours.train()
    assert not torch.equal(ours(Features(X)).x, ours(Features(X)).x)
    single = Recurrent("gru", SPEC, WIDTH, 1, dropout=0.5).train()
    assert torch.equal(single(Features(X)).x, single(Features(X)).x)

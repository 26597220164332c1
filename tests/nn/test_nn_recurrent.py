"""Recurrent layers against PyTorch's own, and sequences of uneven lengths against each one alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from modelwright.core.batch import Features, FeatureSpec
from modelwright.nn import recurrent
from modelwright.nn.dropout import drop
from modelwright.nn.initialization import init_weights
from modelwright.nn.recurrent import Recurrent, RecurrentLayer

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


DOCUMENTS = torch.tensor([[0] * 6, [1, 2, 2, 3, 3, 3], [5, 5, 5, 5, 5, 9], [4, 4, 1, 1, 4, 4]])


@pytest.mark.parametrize("cell", list(CELLS))
def test_packed_documents_are_each_as_alone(cell):
    ours, theirs = pair(cell, bidirectional=False, pool="none")
    x = X.clone().requires_grad_()
    together = ours(Features(x, None, DOCUMENTS)).x
    starts = [[0], [0, 1, 3], [0, 5], [0, 2, 4]]
    for row, begins in enumerate(starts):
        for begin, end in zip(begins, [*begins[1:], T], strict=True):
            torch.testing.assert_close(together[row, begin:end], theirs(X[row : row + 1, begin:end])[0][0], atol=1e-6, rtol=1e-5)
    together[3, 2:4].sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad.abs().sum(-1) > 0, torch.tensor([[False] * 6] * 3 + [[False, False, True, True, False, False]]))


def test_one_long_document_among_short_ones_is_not_padded_into_all(monkeypatch):
    layer = RecurrentLayer("gru", D, WIDTH)
    init_weights(layer, 0)
    read, run = [], layer.rnn.forward
    monkeypatch.setattr(layer.rnn, "forward", lambda x: read.append(x.shape[0] * x.shape[1]) or run(x))
    x, documents = torch.randn(2, 64, D), torch.stack((torch.arange(64), torch.zeros(64, dtype=torch.int64)))
    together = layer(x, None, documents)[0]
    assert sum(read) <= 2 * 128
    torch.testing.assert_close(together[1], run(x[1:])[0][0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(together[0, 9], run(x[:1, 9:10])[0][0, 0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cell", list(CELLS))
def test_a_state_is_gone_on_from(cell):
    ours, theirs = pair(cell, bidirectional=False, pool="none")
    cache = ours.new_cache(B, T)
    with torch.no_grad():
        parts = [ours(Features(part), cache).x for part in X.split((1, 3, 2), dim=1)]
        _, final = theirs(X)
    torch.testing.assert_close(torch.cat(parts, dim=1), theirs(X)[0], atol=1e-6, rtol=1e-5)
    hidden = final[0] if isinstance(final, tuple) else final
    for number, state in enumerate(cache.layers):
        torch.testing.assert_close(state[0], hidden[number], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cell", list(CELLS))
def test_dropped_recurrent_weights_are_dropped_for_the_whole_sequence(cell):
    layer = RecurrentLayer(cell, D, WIDTH, weight_dropout=0.5)
    init_weights(layer, 0)
    whole = layer.eval()(X)[0]
    torch.manual_seed(3)
    dropped = layer.train()(X)[0]
    assert not torch.equal(dropped, layer(X)[0])
    plain = CELLS[cell](D, WIDTH, batch_first=True)
    torch.manual_seed(3)
    plain.load_state_dict({**layer.rnn.state_dict(), "weight_hh_l0": drop(layer.rnn.weight_hh_l0.detach(), 0.5)})
    torch.testing.assert_close(dropped, plain(X)[0])
    dropped.sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
    assert torch.equal(layer.eval()(X)[0], whole)


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("masked", [False, True])
def test_a_shortcut_adds_what_a_layer_reads(cell, masked):
    ours = Recurrent(cell, SPEC, WIDTH, 3, bidirectional=True, shortcuts_from=1, pool="none").eval()
    init_weights(ours, 0)
    mask = MASK if masked else None
    first, second, third = ours.layers
    one = first(X, mask)
    two = second(one[0], mask)
    three = third(one[0] + two[0], mask)
    torch.testing.assert_close(ours(Features(X, mask)).x, one[0] + two[0] + three[0])
    ours.pool = "last"
    torch.testing.assert_close(ours(Features(X, mask)).x, one[1] + two[1] + three[1])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
def test_an_lstm_in_bfloat16_on_a_processor_without_such_a_kernel(monkeypatch, bidirectional, autocast):
    monkeypatch.setattr(recurrent, "CPU_KNOWS_BFLOAT16", False)
    torch.manual_seed(0)
    layer = RecurrentLayer("lstm", 5, 8, bidirectional=bidirectional, weight_dropout=0.0 if autocast else 0.5).bfloat16()
    mask_BT = torch.arange(6) < torch.tensor([[6], [4], [1]])
    x_BTD = torch.randn(3, 6, 5).bfloat16()
    reference = copy.deepcopy(layer).float()
    torch.manual_seed(0)
    expected = reference(x_BTD.float(), mask_BT)
    if autocast:
        layer, x_BTD = copy.deepcopy(reference), x_BTD.float()
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        outputs = layer(x_BTD, mask_BT)
    for output, truth in zip(outputs, expected, strict=True):
        assert torch.equal(output, truth.bfloat16()), "computed in float32"
    outputs[0].float().square().sum().backward()
    expected[0].square().sum().backward()
    for weight, truth in zip(layer.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(weight.grad.float(), truth.grad, rtol=2e-2, atol=2e-2)

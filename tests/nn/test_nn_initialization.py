"""Initialization: every row of the table is measured, and every draw depends on the seed and its place alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from modelwright.core.errors import InputError
from modelwright.core.schema import Feature
from modelwright.nn.activation import activation
from modelwright.nn.columns import CategoryTable, ColumnLinear
from modelwright.nn.initialization import FORGET_GATE_BIAS, TABLE, Draw, draws, init_weights, with_role
from modelwright.nn.positions import LearnedPositions
from modelwright.nn.recurrent import _LAYERS
from modelwright.nn.stems.embedding import EmbeddingStem
from modelwright.nn.token_head import TokenHead

FAN_IN, FAN_OUT = 128, 512
ACTIVATIONS = ("relu", "gelu", "silu", "tanh")


def filled(module: nn.Module, seed: int = 0) -> nn.Module:
    init_weights(module, seed)
    return module


def close(weight: torch.Tensor, std: float) -> None:
    """The sample's deviation is within five of its own standard errors, and its mean too."""
    error = std / math.sqrt(weight.numel())
    assert abs(weight.std().item() - std) < 5 * error / math.sqrt(2)
    assert abs(weight.mean().item()) < 5 * error


# The whole table once more, in numbers: linear (512, 128), embeddings (512, 128), gates of a layer of width 64 that reads 128.
MEASURED = {
    "linear": 0.08839,
    "relu": 0.125,
    "gelu": 0.13554,
    "silu": 0.14818,
    "tanh": 0.14076,
    "gates": 0.10206,
    "recurrent": 0.125,
    "embedding": 0.08839,
    "position": 1.0,
    "token": 0.04419,
    "score": 0.04419,
    "output": 0.08839,
}


def test_every_row_is_measured():
    assert set(MEASURED) == set(TABLE)
    assert all(row.source for row in TABLE.values())


@pytest.mark.parametrize("role", ["linear", *ACTIVATIONS, "output"])
def test_linear_and_convolution(role: str):
    linear = filled(with_role(nn.Linear(FAN_IN, FAN_OUT), role))
    close(linear.weight, MEASURED[role])
    assert not linear.bias.any()
    convolution = filled(with_role(nn.Conv2d(FAN_IN // 8, FAN_OUT, (2, 4)), role))
    close(convolution.weight, MEASURED[role])
    assert not convolution.bias.any()
    close(filled(with_role(nn.Linear(FAN_IN, FAN_OUT), role, scale=0.5)).weight, MEASURED[role] / 2)


def test_without_a_mark_the_row_is_linear():
    close(filled(nn.Linear(FAN_IN, FAN_OUT)).weight, MEASURED["linear"])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_layer_named_by_its_activation_keeps_the_second_moment(name: str):
    x = torch.randn(20_000, FAN_IN, generator=torch.Generator().manual_seed(0))
    gain = TABLE[name].std(1, 1)
    second_moment = activation(name)(gain * x[:, 0] / gain).square().mean().item()  # of a standard normal z
    assert second_moment == pytest.approx(1 / gain**2, rel=0.03)


def test_what_would_be_drawn_is_known_without_drawing():
    with torch.device("meta"):
        network = nn.ModuleDict(
            {"norm": nn.LayerNorm(4), "a": with_role(nn.Linear(FAN_IN, 6), "relu", scale=0.5), "rnn": nn.LSTM(FAN_IN, 64)}
        )
    found = draws(network)
    assert found["a.weight"] == Draw(0.5 * TABLE["relu"].std(FAN_IN, 6), FAN_IN, 0.5)
    assert found["rnn.weight_ih_l0"] == Draw(TABLE["gates"].std(FAN_IN, 64), FAN_IN)
    assert found["rnn.weight_hh_l0"] == Draw(1 / 8, 64)
    assert set(found) == {"a.weight", "rnn.weight_ih_l0", "rnn.weight_hh_l0"}
    with pytest.raises(AssertionError, match="must touch no weights"):
        draws(nn.Linear(2, 2))


def test_embeddings_and_positions():
    close(filled(nn.Embedding(FAN_OUT, FAN_IN)).weight, MEASURED["embedding"])
    table = filled(CategoryTable(FAN_OUT, FAN_IN))
    close(table.weight[1:], MEASURED["embedding"])
    assert not table.weight[0].any()
    close(filled(EmbeddingStem(Feature(name="text", type="text", shape=(1,), vocabulary=FAN_OUT), FAN_IN)).table, MEASURED["token"])
    close(filled(TokenHead(FAN_IN, FAN_OUT, tied_width=None)).weight, MEASURED["score"])
    close(filled(LearnedPositions(FAN_OUT, FAN_IN)).table, MEASURED["position"])
    columns = filled(ColumnLinear(3, FAN_IN, FAN_OUT, role="relu"))
    close(columns.weight, MEASURED["relu"])
    assert not columns.bias.any()


@pytest.mark.parametrize("cell", list(_LAYERS))
def test_recurrent(cell):
    layer = filled(_LAYERS[cell](FAN_IN, 64, 2, bidirectional=True))
    gates = layer.weight_ih_l0.shape[0] // 64
    assert gates == {"rnn": 1, "gru": 3, "lstm": 4}[cell]
    close(layer.weight_ih_l0, MEASURED["gates"])
    for gate in layer.weight_hh_l1_reverse.split(64):
        assert gate.std(correction=0).item() == pytest.approx(MEASURED["recurrent"], rel=1e-2)
        torch.testing.assert_close(gate @ gate.T, torch.eye(64), atol=1e-5, rtol=0)
    for name, bias in layer.named_parameters():
        if "bias" in name:
            expected = torch.zeros_like(bias)
            if cell == "lstm" and "bias_ih" in name:
                expected[64:128] = FORGET_GATE_BIAS
            assert torch.equal(bias, expected), name


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(4), nn.BatchNorm2d(4), nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.RMSNorm(4)], ids=str)
def test_norms_start_neutral(norm: nn.Module):
    with torch.no_grad():
        for tensor in (*norm.parameters(), *norm.buffers()):
            tensor.fill_(7)
    init_weights(norm, 0)
    for name, tensor in norm.state_dict().items():
        assert (tensor == (1 if name in ("weight", "running_var") else 0)).all(), name


def test_a_draw_depends_on_the_seed_and_its_place_alone():
    first = filled(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), 5)
    torch.manual_seed(123)
    longer = filled(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)), 5)
    assert torch.equal(first[1].weight, longer[1].weight)
    assert not torch.equal(first[0].weight, first[1].weight)
    assert not torch.equal(first[0].weight, filled(nn.Sequential(nn.Linear(3, 3)), 6)[0].weight)
    layer = nn.LSTM(3, 3)
    before = torch.random.get_rng_state()
    filled(layer)
    assert torch.equal(before, torch.random.get_rng_state())


def test_what_does_not_say_how_it_starts_is_an_error():
    with pytest.raises(InputError, match=r"module 1 of type Bilinear .* Give it a method initialize\(fill\)"):
        init_weights(nn.Sequential(nn.Linear(2, 2), nn.Bilinear(2, 2, 2)), 0)

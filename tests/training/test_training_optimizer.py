"""Optimizers: the same as torch.optim's, decay where it belongs, Muon's split."""

import copy

import pytest
import torch
from torch import nn

from modelwright.core.errors import InputError
from modelwright.nn.attention import Attention
from modelwright.training.optimizer import OptimizerConfig, optimizers, parameter_groups
from modelwright.training.optimizers.muon import Muon, MuonConfig, fused_rows, is_hidden_matrix
from modelwright.training.optimizers.sgd import SGDConfig
from modelwright.training.orthogonalization import orthogonalize

NAMES = ["adam", "adamw", "muon", "rmsprop", "sgd"]


def test_all_optimizers_are_found():
    assert list(optimizers) == NAMES


def fitted(optimizer_of, steps=30):
    """A two-layer network fitted to a target; losses of all steps, and the network."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    x, y = torch.randn(40, 6), torch.randn(40, 3)
    optimizer, losses = optimizer_of(network), []
    for _ in range(steps):
        loss = nn.functional.mse_loss(network(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, network


@pytest.mark.parametrize("name", NAMES)
def test_each_lowers_the_loss(name):
    losses, _ = fitted(lambda network: optimizers[name](learning_rate=0.01).build(network.named_parameters()))
    assert losses[-1] < 0.97 * losses[0]
    assert min(losses) == pytest.approx(losses[-1], rel=0.02)


def split(network, decay, rate=0.01):
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim < 2]
    return [{"params": weights, "weight_decay": decay, "lr": rate}, {"params": others, "weight_decay": 0.0, "lr": rate}]


REFERENCES = {
    "sgd": lambda n: torch.optim.SGD(split(n, 0.1), momentum=0.9, nesterov=True, fused=False, foreach=False),
    "rmsprop": lambda n: torch.optim.RMSprop(split(n, 0.1), alpha=0.99, eps=1e-8, foreach=False),
    "adam": lambda n: torch.optim.Adam(split(n, 0.1), fused=False, foreach=False),
    "adamw": lambda n: torch.optim.AdamW(split(n, 0.1), fused=False, foreach=False),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_each_equals_torch(name):
    config = optimizers[name](learning_rate=0.01, weight_decay=0.1)
    losses, network = fitted(lambda n: config.build(n.named_parameters()))
    expected, reference = fitted(REFERENCES[name])
    # Fused kernels round in another order.
    assert losses == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(list(network.parameters()), list(reference.parameters()), rtol=1e-3, atol=1e-5)


def test_muon_equals_its_two_parts():
    config = MuonConfig(learning_rate=0.01, weight_decay=0.1)

    class Both:
        def __init__(self, network):
            hidden = [network[0].weight, network[2].weight]
            biases = [network[0].bias, network[2].bias]
            self.parts = [
                torch.optim.Muon(hidden, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
                torch.optim.AdamW(biases, lr=0.01, weight_decay=0.0),
            ]

        def step(self):
            for part in self.parts:
                part.step()

        def zero_grad(self):
            for part in self.parts:
                part.zero_grad()

    losses, _ = fitted(lambda n: config.build(n.named_parameters()))
    expected, _ = fitted(Both)
    # PyTorch's makes its update orthogonal in bfloat16, whose products each processor rounds otherwise.
    assert losses == pytest.approx(expected, rel=1e-3)


def test_decay_is_for_weights_alone():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Embedding(3, 4), nn.Linear(4, 4))
    network[3].bias.requires_grad_(False)
    decayed, free = parameter_groups(network.named_parameters(), 0.1, 0.5)
    assert [p.ndim for p in decayed["params"]] == [4, 2, 2]
    assert [p.ndim for p in free["params"]] == [1, 1, 1]
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.5, 0.0)
    assert decayed["initial_lr"] == free["lr"] == 0.1


def test_decay_shrinks_weights_but_no_bias():
    layer = nn.Linear(3, 3)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    optimizer = optimizers["adamw"](learning_rate=0.1, weight_decay=0.5).build(layer.named_parameters())
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(layer.weight, torch.full((3, 3), 0.95))
    assert torch.equal(layer.bias, torch.ones(3))


@pytest.mark.parametrize(
    ("name", "shape", "hidden"),
    [
        ("backbone.blocks.0.attention.weight", (4, 4), True),
        ("backbone.layers.weight_ih_l0", (16, 4), True),
        ("backbone.layers.0.bias", (4,), False),
        ("backbone.layers.0.weight", (4, 1, 3, 3), False),
        ("backbone.position", (9, 4), False),
        ("stem.embeddings.0.weight", (9, 4), False),
        ("stem.numbers.weight", (9, 4), False),
        ("head.weight", (3, 4), False),
        ("backbone.class_token", (1, 4), False),
        ("backbone.blocks.0.feedforward.expand", (8, 16, 4), True),
        ("backbone.blocks.0.feedforward.router.weight", (8, 4), False),
        ("backbone.layers.0.weight", (4, 1, 3), False),
    ],
)
def test_muon_takes_hidden_matrices_alone(name, shape, hidden):
    assert is_hidden_matrix(name, nn.Parameter(torch.zeros(shape))) == hidden


def test_muon_covers_every_parameter_once():
    network = nn.ModuleDict({"stem": nn.Linear(3, 4), "backbone": nn.Linear(4, 4), "head": nn.Linear(4, 2)})
    optimizer = MuonConfig().build(network.named_parameters())
    taken = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(taken) == sorted(map(id, network.parameters()))
    assert all(group["initial_lr"] == 2e-3 for group in optimizer.param_groups)


@pytest.mark.parametrize("name", NAMES)
def test_state_goes_on_to_the_same_bits(name):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    gradients = [[torch.randn_like(p) for p in network.parameters()] for _ in range(6)]

    def steps(network, optimizer, gradients):
        for step in gradients:
            for parameter, gradient in zip(network.parameters(), step, strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()

    optimizer = optimizers[name]().build(network.named_parameters())
    steps(network, optimizer, gradients[:3])
    twin = copy.deepcopy(network)
    second = optimizers[name]().build(twin.named_parameters())
    second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group in second.param_groups:
        group["lr"] = group["initial_lr"]
    steps(network, optimizer, gradients[3:])
    steps(twin, second, gradients[3:])
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), twin.parameters(), strict=True))


def test_nesterov_without_momentum_is_refused():
    from modelwright.core.config import validate

    with pytest.raises(InputError, match="nesterov needs momentum"):
        validate(SGDConfig, {"momentum": 0})


def test_an_optimizer_from_outside_joins(workshop):
    @optimizers.register("sign_descent")
    class SignConfig(OptimizerConfig):
        name: str = "sign_descent"

        def build(self, named_parameters):
            return torch.optim.SGD(parameter_groups(named_parameters, self.learning_rate, 0.0), lr=self.learning_rate)

    try:
        assert workshop.config(optimizer="sign_descent").optimizer == SignConfig()
    finally:
        del optimizers._parts["sign_descent"]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("shapes", [[(8, 8), (8, 8)], [(6, 20), (20, 6), (6, 20)], [(5, 9), (16, 16)]])
def test_batched_muon_equals_torch(shapes, decay):
    draws = torch.Generator().manual_seed(4)
    mine = [nn.Parameter(torch.randn(shape, generator=draws)) for shape in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in mine]
    start = [p.detach().clone() for p in mine]
    optimizer = Muon(mine, [(len(p),) for p in mine], learning_rate=0.05, weight_decay=decay)
    reference = torch.optim.Muon(theirs, lr=0.05, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for a, b in zip(mine, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=draws)
            b.grad = a.grad.clone()
        optimizer.step()
        reference.step()
    for a, b, first in zip(mine, theirs, start, strict=True):
        # Both iterate in bfloat16 (or mine in float32), which rounds in the third digit.
        assert (a - b).norm() < 0.02 * (b - first).norm()


def test_stacks_and_fused_weights_are_orthogonalized_matrix_by_matrix():
    draws = torch.Generator().manual_seed(4)
    single = [nn.Parameter(torch.randn(6, 6, generator=draws)) for _ in range(3)]
    fused, stack = nn.Parameter(torch.cat([*single]).detach()), nn.Parameter(torch.stack([*single]).detach())
    gradients = [torch.randn(6, 6, generator=draws) for _ in range(3)]
    for parameter, gradient in zip(single, gradients, strict=True):
        parameter.grad = gradient
    fused.grad, stack.grad = torch.cat(gradients), torch.stack(gradients)
    for parameters, rows in ((single, [(6,)] * 3), ([fused], [(6, 6, 6)]), ([stack], [(6,)])):
        Muon(parameters, rows, learning_rate=0.1).step()
    torch.testing.assert_close(fused.detach(), torch.cat([*single]).detach(), rtol=0, atol=2e-3)
    torch.testing.assert_close(stack.detach(), torch.stack([*single]).detach(), rtol=0, atol=2e-3)


FUSED = nn.ModuleDict(
    {
        "attention": Attention(8, 4),
        "grouped": nn.ModuleDict({"attention": Attention(8, 4, num_kv_heads=2)}),
        "rnn": nn.RNN(5, 6),
        "gru": nn.GRU(6, 12, num_layers=2, bidirectional=True),
        "lstm": nn.LSTM(18, 6),
        "expand": nn.Linear(8, 32),
    }
)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("attention.project.weight", (8, 8, 8)),
        ("attention.output.weight", (8,)),
        ("grouped.attention.project.weight", (8, 4, 4)),
        ("rnn.weight_ih_l0", (6,)),
        ("gru.weight_ih_l0", (12, 12, 12)),
        ("gru.weight_hh_l1_reverse", (12, 12, 12)),
        ("gru.weight_ih_l1_reverse", (12, 12, 12)),
        ("lstm.weight_ih_l0", (6, 6, 6, 6)),
        ("lstm.weight_hh_l0", (6, 6, 6, 6)),
        ("expand.weight", (32,)),
    ],
)
def test_fused_matrices_are_cut_where_their_layer_says(name, rows):
    assert fused_rows(name, {name: tuple(parameter.shape) for name, parameter in FUSED.named_parameters()}) == rows


def test_matrices_of_unequal_rows_are_each_as_alone():
    draws = torch.Generator().manual_seed(4)
    single = [nn.Parameter(torch.randn(rows, 6, generator=draws)) for rows in (6, 3, 3)]
    fused = nn.Parameter(torch.cat([*single]).detach())
    for parameter in single:
        parameter.grad = torch.randn(parameter.shape, generator=draws)
    fused.grad = torch.cat([parameter.grad for parameter in single])
    Muon(single, [(6,), (3,), (3,)], learning_rate=0.1).step()
    Muon([fused], [(6, 3, 3)], learning_rate=0.1).step()
    torch.testing.assert_close(fused.detach(), torch.cat([*single]).detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("coefficients", "low", "high"), [("jordan", 0.6, 1.25), ("polar_express", 0.85, 1.15)])
def test_singular_values_end_near_one(coefficients, low, high):
    draws = torch.Generator().manual_seed(4)
    u, _ = torch.linalg.qr(torch.randn(2, 16, 16, generator=draws))
    values = torch.logspace(0, -1.5, 16)
    matrices = torch.cat([(u * values) @ u.mT, torch.zeros(2, 16, 8)], dim=2)
    found = torch.linalg.svdvals(orthogonalize(matrices, coefficients))
    assert low < found.min()
    assert found.max() < high
    assert not orthogonalize(torch.zeros(1, 4, 4), coefficients).any()


def test_matrices_and_the_rest_learn_at_rates_of_their_own():
    network = nn.ModuleDict({"backbone": nn.Linear(4, 4), "head": nn.Linear(4, 2)})
    groups = MuonConfig(learning_rate=0.02, adam_learning_rate=0.003).build(network.named_parameters()).param_groups
    assert [group["initial_lr"] for group in groups] == [0.02, 0.003, 0.003]


def test_matrices_without_a_gradient_stay():
    a, b = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3, 3))
    b.grad = torch.eye(3)
    optimizer = Muon([a, b], [(3,), (3,)], learning_rate=0.1, weight_decay=0.5)
    optimizer.step()
    assert torch.equal(a, torch.ones(3, 3))
    assert not torch.equal(b, torch.ones(3, 3))


def test_fewer_iterations_are_the_first_ones():
    matrices = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(4))
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True)
    a, b, c = 3.4445, -4.7750, 2.0315
    expected = a * x + b * x @ x.mT @ x + c * x @ x.mT @ x @ x.mT @ x
    torch.testing.assert_close(orthogonalize(matrices, iterations=1), expected)
    assert not torch.allclose(orthogonalize(matrices, iterations=2), expected)

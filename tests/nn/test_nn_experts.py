"""Experts: against a loop over tokens, and the formulas of their losses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from modelwright.nn.experts import Experts
from modelwright.nn.feedforward import FeedForward
from modelwright.nn.initialization import init_weights

D, HIDDEN, E = 6, 10, 4


def made(per_token: int, **settings) -> Experts:
    experts = Experts(D, HIDDEN, E, per_token, **settings)
    init_weights(experts, 0)
    return experts


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def one(experts: Experts, expert: int) -> FeedForward:
    """One of the experts, as a layer of its own."""
    layer = FeedForward(D, HIDDEN, inner=experts.inner, bias=False)
    layer.expand.weight.data, layer.output.weight.data = experts.expand[expert].data, experts.output[expert].data
    return layer


@pytest.mark.parametrize("inner", ["gelu", "swiglu", "relu2"])
@pytest.mark.parametrize("per_token", [1, 2, 4])
def test_a_token_gets_the_weighted_sum_of_its_experts(per_token: int, inner):
    experts, x = made(per_token, inner=inner), random(3, 7, D)
    given = experts(x)
    for row in range(3):
        for time in range(7):
            token = x[row, time]
            probability = experts.router(token).softmax(-1)
            best = probability.argsort(descending=True)[:per_token].tolist()
            total = sum(probability[e] for e in best) if per_token > 1 else 1.0
            expected = sum(probability[e] / total * one(experts, e)(token) for e in best)
            torch.testing.assert_close(given[row, time], expected, atol=1e-6, rtol=1e-5)


def test_the_penalty_is_that_of_the_papers():
    experts, x = made(2, balance=0.5, z_loss=0.25), random(2, 9, D)
    experts.train()(x)
    logit = experts.router(x.flatten(0, 1))
    probability = logit.softmax(-1)
    share = torch.zeros(E)
    for token in range(18):
        for expert in probability[token].topk(2).indices.tolist():
            share[expert] += 1 / (2 * 18)
    balance = E * sum(share[e] * probability[:, e].mean() for e in range(E))
    z = torch.stack([row.exp().sum().log() ** 2 for row in logit]).mean()
    torch.testing.assert_close(experts.penalty, 0.5 * balance + 0.25 * z)


def test_the_balance_is_one_when_all_are_used_alike_and_more_when_they_are_not():
    experts = made(1, balance=1.0)
    experts.train()
    with torch.no_grad():
        experts.router.weight.copy_(torch.eye(E, D) * 20)
    experts(torch.eye(D)[:E].repeat(5, 1))
    assert experts.penalty.item() == pytest.approx(1.0, abs=1e-5)
    experts(torch.eye(D)[[0] * 19 + [1]])
    assert experts.penalty.item() > 3


def test_there_is_no_penalty_outside_of_training():
    experts = made(2)
    experts.train()(random(4, D))
    assert experts.penalty is not None
    experts.eval()(random(4, D))
    assert experts.penalty is None


def test_experts_that_get_nothing_do_no_harm():
    experts = made(1)
    with torch.no_grad():
        experts.router.weight.zero_()
        experts.router.weight[2] = 1
    x = random(5, D).abs().requires_grad_()
    experts.train()(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert experts.output.grad[2].any()
    assert not experts.output.grad[[0, 1, 3]].any()


def test_gradients():
    experts = made(2, inner="swiglu").double().train()
    x = random(5, D).double().requires_grad_()
    assert torch.autograd.gradcheck(experts, (x,))
    parameters = list(experts.parameters())

    def loss(*values):
        return torch.func.functional_call(experts, dict(zip(dict(experts.named_parameters()), values, strict=True)), (x.detach(),))

    assert torch.autograd.gradcheck(loss, tuple(parameters))


def test_the_meta_device_knows_the_shape():
    with torch.device("meta"):
        experts = Experts(D, HIDDEN, E, 2)
    assert experts(torch.empty(2, 7, D, device="meta")).shape == (2, 7, D)


def test_the_initial_weights_of_experts_are_those_of_a_layer():
    experts = Experts(128, 256, 3, 1, inner="relu", output_scale=0.5)
    init_weights(experts, 0)
    for expert in range(3):
        assert experts.expand[expert].std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.03)
        assert experts.output[expert].std().item() == pytest.approx(0.5 * 256**-0.5, rel=0.03)


def test_dropout_is_for_training():
    experts, x = made(2, dropout=0.5), random(4, D)
    experts.train()
    assert not torch.equal(experts(x), experts(x))
    assert torch.equal(experts.eval()(x), experts(x))


def test_autocast_gives_what_float32_gives():
    experts, x = made(2), random(16, D)
    with torch.autocast("cpu", torch.bfloat16):
        rough = experts(x)
    clear = (rough.float() - experts(x)).abs()
    # bfloat16 has 8 bits of precision; a token near the border between two experts may go to the other.
    assert clear.median() < 0.02
    assert F.relu(clear - 0.1).count_nonzero() <= 2 * D

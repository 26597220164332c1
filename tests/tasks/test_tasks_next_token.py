"""Next-token prediction: the loss in chunks against PyTorch's plain one, ignored targets, z-loss, soft-cap, and the task itself."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from modelwright.core.batch import IGNORED
from modelwright.core.schema import Feature, Schema
from modelwright.tasks import next_token, projected_loss
from modelwright.tasks.next_token import NextToken, NextTokenConfig
from modelwright.tasks.projected_loss import cross_entropy, projected_cross_entropy
from modelwright.tasks.task import choose_task


def text_schema(vocabulary=11, context=6):
    text = Feature(name="text", type="text", shape=(context,), vocabulary=vocabulary)
    return Schema(inputs=(text,), target=Feature(name="next token", type="text", shape=(context,), vocabulary=vocabulary))


class Bigrams(nn.Module):
    """Scores of the next token by the present one alone, through a hidden state."""

    def __init__(self, vocabulary=11, width=5, softcap=None, bias=False):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(vocabulary, width)
        self.weight = nn.Parameter(torch.randn(vocabulary, width))
        self.bias = nn.Parameter(torch.randn(vocabulary)) if bias else None
        self.softcap, self.called = softcap, []

    def hidden(self, inputs):
        self.called.append("hidden")
        return self.table(inputs["tokens"])

    def output_weight(self):
        return self.weight

    @property
    def output_bias(self):
        return self.bias

    def forward(self, inputs):
        scores = F.linear(self.hidden(inputs), self.weight, self.bias)
        self.called.append("forward")
        return scores if self.softcap is None else self.softcap * torch.tanh(scores / self.softcap)


def case(dtype=torch.float32, count=17, width=5, vocabulary=23, ignored=True):
    draws = torch.Generator().manual_seed(1)
    hidden = torch.randn(count, width, generator=draws, dtype=dtype).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=draws, dtype=dtype).requires_grad_()
    bias = torch.randn(vocabulary, generator=draws, dtype=dtype).requires_grad_()
    target = torch.randint(0, vocabulary, (count,), generator=draws)
    if ignored:
        target[::4] = IGNORED
    return hidden, weight, bias, target


def plain(hidden, weight, bias, target, softcap, z_loss):
    scores = F.linear(hidden, weight, bias)
    scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
    kept = target != IGNORED
    return F.cross_entropy(scores[kept], target[kept], reduction="sum") + z_loss * scores[kept].logsumexp(1).square().sum()


@pytest.fixture(params=[2**25, 60, 23, 1], ids=["one chunk", "ragged chunks", "a row a chunk", "less than a row"])
def chunked(request, monkeypatch):
    monkeypatch.setitem(projected_loss.CHUNK_SCORES, "cpu", request.param)
    monkeypatch.setattr(projected_loss, "BLOCK_SCORES", 50)


OPTIONS = [(None, 0.0), (2.0, 0.0), (None, 1e-2), (2.0, 1e-2)]


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize(("softcap", "z_loss"), OPTIONS)
def test_loss_and_gradients_equal_the_plain_ones(softcap, z_loss):
    *leaves, target = case(torch.float64)
    loss = projected_cross_entropy(leaves[0], leaves[1], target, bias=leaves[2], softcap=softcap, z_loss=z_loss)
    expected = plain(*leaves, target, softcap, z_loss)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss / 7, leaves), torch.autograd.grad(expected / 7, leaves))


@pytest.mark.parametrize(("softcap", "z_loss"), OPTIONS)
def test_gradients_are_those_of_finite_differences(softcap, z_loss):
    hidden, weight, bias, target = case(torch.float64, count=4, width=3, vocabulary=6)

    def loss(leaves):
        return projected_cross_entropy(leaves[0], leaves[1], target, bias=leaves[2], softcap=softcap, z_loss=z_loss)

    leaves = [hidden, weight, bias]
    gradients = torch.autograd.grad(loss(leaves), leaves)
    for number, (leaf, gradient) in enumerate(zip(leaves, gradients, strict=True)):
        # Not torch's gradcheck, which asks for the same gradients twice: they are made once, in place.
        for place in torch.eye(leaf.numel(), dtype=torch.float64):
            step = 1e-6 * place.view_as(leaf)
            above, below = (loss([*leaves[:number], leaf + sign * step, *leaves[number + 1 :]]) for sign in (1, -1))
            assert (gradient * place.view_as(leaf)).sum().item() == pytest.approx((above - below).item() / 2e-6, abs=1e-7)


def test_gradients_can_be_asked_for_once():
    hidden, weight, _, target = case()
    loss = projected_cross_entropy(hidden, weight, target)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified"):
        loss.backward()


def test_float32_is_near_float64_for_extreme_scores():
    hidden, weight, _, target = case(vocabulary=50)
    loss = projected_cross_entropy(60 * hidden, weight, target)
    expected = plain(60 * hidden.double(), weight.double(), None, target, None, 0.0)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.usefixtures("chunked")
def test_under_autocast_it_is_as_near_to_the_truth_as_the_plain_one():
    *leaves, _, target = case(count=64, width=32, vocabulary=60)
    truth = plain(*[leaf.double() for leaf in leaves], None, target, None, 0.0)
    true_gradients = torch.autograd.grad(truth, leaves)
    with torch.autocast("cpu", torch.bfloat16):
        loss = projected_cross_entropy(*leaves, target)
        reference = F.cross_entropy(F.linear(*leaves).float(), target, ignore_index=IGNORED, reduction="sum")
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), truth, rtol=3e-3, atol=0)
    gradients, plain_gradients = torch.autograd.grad(loss, leaves), torch.autograd.grad(reference, leaves)
    for mine, other, true in zip(gradients, plain_gradients, true_gradients, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - true).norm() <= 1.3 * (other - true).norm() <= 0.02 * true.norm()


def test_ignored_targets_change_nothing():
    hidden, weight, _, target = case(count=12)
    kept = target != IGNORED
    with_ignored = projected_cross_entropy(hidden, weight, target)
    without = projected_cross_entropy(hidden[kept], weight, target[kept])
    torch.testing.assert_close(with_ignored, without)
    gradients, expected = torch.autograd.grad(with_ignored, (hidden, weight)), torch.autograd.grad(without, (hidden, weight))
    torch.testing.assert_close(gradients, expected)
    assert not gradients[0][~kept].any()
    nothing = projected_cross_entropy(hidden, weight, torch.full_like(target, IGNORED))
    assert nothing == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(nothing, (hidden, weight)))


def test_no_tensor_of_all_scores_is_kept(monkeypatch):
    monkeypatch.setitem(projected_loss.CHUNK_SCORES, "cpu", 4 * 40)
    hidden, weight, _, target = case(count=32, vocabulary=40)
    sizes, apply = [], F.linear
    monkeypatch.setattr(projected_loss.F, "linear", lambda *a: sizes.append(out := apply(*a)) or out)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor):
        projected_cross_entropy(hidden, weight, target)
    assert [len(scores) for scores in sizes] == [4] * 8
    assert max(kept) < 32 * 40


@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("bias", [False, True])
def test_the_objective_of_a_small_vocabulary_equals_that_of_a_large_one(monkeypatch, z_loss, softcap, bias):
    network, task = Bigrams(softcap=softcap, bias=bias), NextToken(11, z_loss=z_loss)
    tokens, target = torch.randint(0, 11, (3, 6)), torch.randint(0, 11, (3, 6))
    target[0, :4] = IGNORED
    results = []
    for limit in (512, 2):
        monkeypatch.setattr(next_token, "SMALL_VOCABULARY", limit)
        network.called.clear()
        loss, count = task.objective(network, {"tokens": tokens}, target)
        results.append((loss, *torch.autograd.grad(loss, list(network.parameters()))))
        assert count == 14
        assert ("forward" in network.called) == (limit == 512)
    torch.testing.assert_close(results[0], results[1])


def test_the_loss_on_scores_equals_the_objective():
    network, task = Bigrams(), NextToken(11)
    tokens, target = torch.randint(0, 11, (3, 6)), torch.randint(0, 11, (3, 6))
    torch.testing.assert_close(task.loss(network({"tokens": tokens}), target), task.objective(network, {"tokens": tokens}, target))


def test_z_loss_is_the_squared_log_of_the_denominator():
    scores, target = torch.randn(5, 7), torch.tensor([1, 2, IGNORED, 0, 6])
    kept = target != IGNORED
    extra = cross_entropy(scores, target, 0.1) - cross_entropy(scores, target)
    torch.testing.assert_close(extra, 0.1 * scores[kept].exp().sum(1).log().square().sum())


def test_texts_get_this_task_and_nothing_else_does():
    config = choose_task(text_schema())
    assert config == NextTokenConfig()
    assert not NextTokenConfig.learns(Feature(name="x", type="number"))
    task = config.build(text_schema())
    assert (task.outputs, task.primary, task.higher_is_better) == (11, "loss", False)
    assert task.predict(torch.eye(11)[None, :4]).value.tolist() == [3]
    assert task.predict(torch.eye(11)[None, :4]).to_rows() == [{"value": 3}]


def test_with_known_bytes_bits_per_byte_decide():
    task = NextToken(3, byte_lengths=torch.tensor([0, 1, 2]).numpy())
    assert task.primary == "bits_per_byte"
    meter = task.meter()
    meter.update(torch.zeros(2, 4, 3), torch.ones(2, 4, dtype=torch.int64))
    assert set(meter.compute()) == {"loss", "perplexity", "bits_per_byte", "accuracy"}

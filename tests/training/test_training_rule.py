"""The step rule: gradients, clipping, averaging, randomness, divergence."""

import copy
import math

import pytest
import torch
from torch import nn

from modelwright.core.batch import Batch
from modelwright.core.errors import DivergedError
from modelwright.tasks.next_token import NextToken
from modelwright.tasks.task import LossTask
from modelwright.training import rule as rule_module
from modelwright.training.average import WeightAverage
from modelwright.training.optimizers.sgd import SGDConfig
from modelwright.training.rule import SupervisedRule, slices


class Squares(LossTask):
    """Squared error as a sum and a count; with weights, the count is not the number of examples."""

    def __init__(self, uneven=False):
        self.uneven = uneven

    def loss(self, output, target):
        error = (output.squeeze(1) - target) ** 2
        weight = (target > 0).float() + 0.5 if self.uneven else torch.ones_like(target)
        return (weight * error).sum(), weight.sum() if self.uneven else len(target)


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, inputs):
        return self.layers(inputs["numbers"])


def batch_of(size, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return Batch({"numbers": torch.randn(size, 5, generator=draws)}, torch.randn(size, generator=draws))


def line_rule(network=None, **options):
    network = network or Line()
    settings = {"seed": 0, "clip_norm": None, **options}
    optimizer = SGDConfig(learning_rate=0.1, momentum=0, nesterov=False, weight_decay=0).build(network.named_parameters())
    return SupervisedRule(network, settings.pop("task", Squares()), optimizer, settings.pop("schedule", lambda p: 1.0), **settings)


@pytest.mark.parametrize("uneven", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(("size", "parts"), [(12, 4), (11, 4), (7, 3), (3, 8)])
def test_accumulation_gives_the_update_of_the_whole_batch(size, parts, uneven):
    whole, cut = line_rule(task=Squares(uneven)), line_rule(task=Squares(uneven), accumulation=parts)
    first, second = whole.step(batch_of(size), 0, 0.0, 0.1), cut.step(batch_of(size), 0, 0.0, 0.1)
    # Sums in another order: a few units in the last place of float32.
    torch.testing.assert_close(list(whole.network.parameters()), list(cut.network.parameters()), rtol=1e-5, atol=1e-7)
    assert second.loss == pytest.approx(first.loss, rel=1e-5)
    assert second.grad_norm == pytest.approx(first.grad_norm, rel=1e-5)


def test_slices_keep_order_and_are_even():
    parts = slices(batch_of(11), 4)
    assert [part.size for part in parts] == [3, 3, 3, 2]
    assert torch.equal(torch.cat([part.inputs["numbers"] for part in parts]), batch_of(11).inputs["numbers"])


def test_one_step_equals_a_step_by_hand():
    rule, twin, batch = line_rule(), Line(), batch_of(9)
    rule.step(batch, 0, 0.0, 0.1)
    nn.functional.mse_loss(twin(batch.inputs).squeeze(1), batch.target).backward()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter -= 0.1 * parameter.grad
    torch.testing.assert_close(list(rule.network.parameters()), list(twin.parameters()))


@pytest.mark.parametrize("longest", [0.05, 1e6])
def test_clipping_equals_torch(longest):
    rule, twin, batch = line_rule(clip_norm=longest), Line(), batch_of(9)
    outcome = rule.step(batch, 0, 0.0, 0.1)
    nn.functional.mse_loss(twin(batch.inputs).squeeze(1), batch.target).backward()
    norm = nn.utils.clip_grad_norm_(twin.parameters(), longest)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter -= 0.1 * parameter.grad
    assert outcome.grad_norm == pytest.approx(norm.item(), rel=1e-5)
    torch.testing.assert_close(list(rule.network.parameters()), list(twin.parameters()))


def test_the_learning_rate_follows_the_schedule_at_the_middle_of_the_step():
    rule = line_rule(schedule=lambda progress: 1 - progress)
    assert rule.step(batch_of(4), 0, 0.2, 0.4).learning_rate == pytest.approx(0.1 * 0.7)


def test_bfloat16_keeps_weights_in_float32_and_comes_close():
    plain, short = line_rule(), line_rule(precision="bfloat16")
    first, second = plain.step(batch_of(32), 0, 0.0, 0.1), short.step(batch_of(32), 0, 0.0, 0.1)
    assert all(p.dtype == torch.float32 for p in short.network.parameters())
    assert first.loss != second.loss
    assert second.loss == pytest.approx(first.loss, rel=0.02)


def test_dropout_depends_on_seed_and_step_alone(workshop):
    config, batch = workshop.config(), workshop.batches().batch(0)

    def loss(seed, step, disturb=0):
        rule = workshop.rule(config, seed=seed)
        torch.rand(disturb)
        return rule.step(batch, step, 0.0, 0.1).loss

    assert loss(0, 0) == loss(0, 0, disturb=17)
    assert len({loss(0, 0), loss(0, 1), loss(1, 0)}) == 3


def test_average_is_the_weighted_mean_of_all_weights():
    network, half_life, total = Line(), 0.1, 20
    average, seen = WeightAverage(network, half_life), []
    for step in range(total):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.randn(parameter.shape))
        seen.append(copy.deepcopy(network.state_dict()))
        average.update(step / total, (step + 1) / total)
    weights = torch.tensor([0.5 ** ((total - 1 - step) / total / half_life) for step in range(total)], dtype=torch.float64)
    weights /= weights.sum()
    for name, mean in average.network().state_dict().items():
        expected = sum(weight * state[name].double() for weight, state in zip(weights, seen, strict=True))
        torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-6)


def test_average_of_one_step_is_that_step_and_of_constant_weights_constant():
    network = Line()
    average = WeightAverage(network, 0.05)
    assert average.weight(0.0, 0.01) == 1.0
    for step in range(30):
        average.update(step / 30, (step + 1) / 30)
    assert all(torch.equal(a, b) for a, b in zip(average.network().parameters(), network.parameters(), strict=True))


def test_average_takes_in_batchnorm_and_leaves_masks_alone():
    network = nn.BatchNorm1d(2)
    network.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    average = WeightAverage(network, 0.5)
    for step in range(4):
        network(torch.randn(8, 2) + 5)
        average.update(step / 4, (step + 1) / 4)
    mean = average.network()
    assert mean.num_batches_tracked == 4
    assert (mean.running_mean > 0.5).all()
    assert not mean.training
    assert torch.equal(mean.mask, torch.tensor([0.0, -math.inf]))


def test_average_follows_weights_that_get_other_storage():
    network = nn.Linear(2, 2)
    average = WeightAverage(network, half_life=0.5)
    network.weight.data = network.weight.data.clone()
    with torch.no_grad():
        network.weight.fill_(3.0)
    average.update(0.0, 0.1)
    assert torch.equal(average.network().weight, torch.full((2, 2), 3.0))


def test_the_averaged_network_is_judged_and_adopted(workshop):
    rule = workshop.rule(workshop.config(ema=0.2))
    for step in range(5):
        rule.step(workshop.batches().batch(step), step, step / 10, (step + 1) / 10)
    averaged = copy.deepcopy(rule.evaluation_network().state_dict())
    assert not torch.equal(averaged["head.weight"], rule.network.head.weight)
    rule.adopt(None)
    assert torch.equal(averaged["head.weight"], rule.network.head.weight)
    assert not rule.network.training


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_divergence_names_step_rate_and_remedies_and_spares_the_weights(precision):
    rule, batch = line_rule(precision=precision), batch_of(4)
    batch.target[0] = math.nan
    before = [p.detach().clone() for p in rule.network.parameters()]
    with pytest.raises(DivergedError) as caught:
        rule.step(batch, 41, 0.0, 0.1)
    message = str(caught.value)
    assert "step 42" in message
    assert "learning rate of 0.1" in message
    assert "to 0.01" in message
    assert "clip_norm" in message
    assert ("float32" in message) == (precision == "bfloat16")
    assert all(torch.equal(a, b) for a, b in zip(before, rule.network.parameters(), strict=True))


def test_a_gradient_that_is_not_finite_diverges_too():
    class Steep(LossTask):
        def loss(self, output, target):
            return (output * 0).sqrt().sum(), len(target)

    with pytest.raises(DivergedError, match="gradient became nan"):
        line_rule(task=Steep()).step(batch_of(4), 0, 0.0, 0.1)


def test_an_accelerator_is_read_rarely_and_nothing_bad_is_missed(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    reading, seen = rule_module._Reading(), []
    for number, loss in enumerate([1.0, 2.0, 4.0, math.nan, 6.0, 7.0]):
        now[0] += 0.15
        seen.append(reading.take(torch.tensor(loss), torch.tensor(float(number)))[0])
    assert seen[:3] == [1.0, 1.0, 3.0]
    assert math.isnan(seen[4])


def test_many_steps_equal_those_by_hand():
    rule = line_rule(clip_norm=0.5, ema=0.2, accumulation=2, schedule=lambda progress: 1 - progress)
    losses = [rule.step(batch_of(8, seed=step), step, step / 6, (step + 1) / 6).loss for step in range(6)]
    twin, expected = Line(), []
    for step in range(6):
        batch = batch_of(8, seed=step)
        loss = nn.functional.mse_loss(twin(batch.inputs).squeeze(1), batch.target)
        twin.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter -= 0.1 * (1 - (step + 0.5) / 6) * parameter.grad
        expected.append(loss.item())
    assert losses == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(list(rule.network.parameters()), list(twin.parameters()), rtol=1e-5, atol=1e-7)


class Tokens(nn.Module):
    """Scores of the next token, with a part that leaves a penalty."""

    def __init__(self, penalized=True):
        super().__init__()
        torch.manual_seed(5)
        self.table, self.part = nn.Embedding(7, 6), nn.Linear(6, 7)
        self.part.penalty = None
        self.penalized = penalized

    def forward(self, inputs):
        hidden = self.table(inputs["tokens"])
        if self.training and self.penalized:
            self.part.penalty = 0.1 * self.part.weight.square().sum()
        return self.part(hidden)


def windows(rows=6, time=5):
    draws = torch.Generator().manual_seed(2)
    tokens, target = torch.randint(0, 7, (2, rows, time), generator=draws)
    target[0, 1:] = target[3, :4] = target[4] = -100
    return Batch({"tokens": tokens}, target)


@pytest.mark.parametrize("parts", [1, 2, 4, 6])
def test_tokens_are_what_is_counted_and_a_penalty_counts_with_each(parts):
    network, twin, batch = Tokens(), Tokens(penalized=False), windows()
    outcome = line_rule(network, task=NextToken(7), accumulation=parts).step(batch, 0, 0.0, 0.1)
    loss = nn.functional.cross_entropy(twin(batch.inputs).flatten(0, 1), batch.target.flatten()) + 0.1 * twin.part.weight.square().sum()
    loss.backward()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter -= 0.1 * parameter.grad
    assert outcome.loss == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(list(network.parameters()), list(twin.parameters()), rtol=1e-5, atol=1e-7)
    assert network.part.penalty is None
    copy.deepcopy(network)


def test_the_whole_objective_is_wrapped():
    calls = []

    def wrap(objective):
        def counted(inputs, target):
            calls.append(len(target))
            return objective(inputs, target)

        return counted

    line_rule(wrap=wrap, accumulation=3).step(batch_of(8), 0, 0.0, 0.1)
    assert calls == [3, 3, 2]

"""Measuring networks and functions, baselines, and paired comparisons."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from modelwright.core.batch import Batch
from modelwright.core.errors import DivergedError, InputError
from modelwright.core.schema import Feature, Schema
from modelwright.evaluation.baseline import BaselineConfig, baselines, suitable_baselines
from modelwright.evaluation.baselines.gradient_boosting import GradientBoostingConfig
from modelwright.evaluation.baselines.majority import MajorityConfig
from modelwright.evaluation.baselines.mean import MeanConfig
from modelwright.evaluation.comparison import compare
from modelwright.evaluation.evaluate import evaluate, measure
from modelwright.evaluation.significance import mcnemar
from modelwright.tasks.task import choose_task


class Table:
    """A stand-in for a split of a table."""

    def __init__(self, inputs, target):
        self.inputs, self.target = inputs, target

    def batches(self, batch_size):
        size = len(next(iter(self.inputs.values())))
        for start in range(0, size, batch_size):
            rows = slice(start, start + batch_size)
            yield Batch({name: t[rows] for name, t in self.inputs.items()}, None if self.target is None else self.target[rows])


def make(kind, n, seed=0):
    """A table whose target follows a number, a category and whether a number is missing."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(n, 2, generator=generator)
    missing = (torch.rand(n, 2, generator=generator) < 0.2).float()
    categories = torch.randint(0, 4, (n, 1), generator=generator)
    seen = numbers * (1 - missing)
    score = 2 * (seen[:, 0] > 0.3) + (categories[:, 0] == 2) * 1.5 - missing[:, 1] + 0.4 * torch.randn(n, generator=generator)
    target = {"binary": (score > 0.8).long(), "classes": (score > 0.3).long() + (score > 1.7).long(), "number": score.float()}[kind]
    return Table({"numbers": seen, "missing": missing, "categories": categories}, target)


def schema(kind):
    number = Feature(name="n", type="number", mean=(0.0,), scale=(1.0,), has_missing=True)
    category = Feature(name="c", type="category", values=("a", "b", "c"))
    target = {
        "binary": Feature(name="t", type="category", values=("no", "yes")),
        "classes": Feature(name="t", type="category", values=("low", "mid", "high")),
        "number": Feature(name="t", type="number", mean=(5.0,), scale=(2.0,)),
    }[kind]
    return Schema(inputs=(number, number.replace(name="m"), category), target=target)


def task_of(kind):
    return choose_task(schema(kind)).build(schema(kind))


class Net(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.norm, self.dropout, self.linear = nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, outputs)

    def forward(self, inputs):
        return self.linear(self.dropout(self.norm(inputs["numbers"])))


def test_a_network_is_measured_in_evaluation_mode_and_left_as_it_was():
    split, task, network = make("classes", 300), task_of("classes"), Net(3).train()
    network.norm.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = evaluate(network, task, split, batch_size=64, replicates=20)
    assert first == evaluate(network, task, split, batch_size=64, replicates=20)
    assert (network.training, network.norm.training, network.dropout.training) == (True, False, True)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with torch.no_grad():
        right = (network.eval()(split.inputs).argmax(1) == split.target).double().mean()
    assert first.estimates["accuracy"].value == pytest.approx(float(right))
    assert first.details["count"] == 300


def test_the_batch_size_changes_no_number():
    split, task, network = make("number", 150), task_of("number"), Net(1)
    small, whole = (evaluate(network, task, split, batch_size=size, replicates=30) for size in (7, 1000))
    for name, estimate in whole.estimates.items():
        assert small.estimates[name].to_dict() == pytest.approx(estimate.to_dict(), rel=1e-5)


def test_bfloat16_is_close_to_float32():
    split, task, network = make("number", 100), task_of("number"), Net(1)
    exact, rough = (evaluate(network, task, split, replicates=0, precision=p).estimates["rmse"].value for p in ("float32", "bfloat16"))
    assert rough != exact
    assert rough == pytest.approx(exact, rel=0.02)


def test_what_cannot_be_measured_is_an_error():
    task, network = task_of("binary"), Net(1)
    network.linear.bias.data.fill_(math.nan)
    with pytest.raises(DivergedError):
        evaluate(network, task, make("binary", 20))
    assert network.training
    with pytest.raises(InputError, match="no target"):
        evaluate(Net(1), task, Table(make("binary", 20).inputs, None))
    with pytest.raises(InputError, match="no example"):
        evaluate(Net(1), task, make("binary", 0))


@pytest.mark.parametrize("kind", ["binary", "classes"])
def test_the_majority_baseline_predicts_the_training_frequencies(kind):
    train, test, task = make(kind, 400), make(kind, 100, seed=1), task_of(kind)
    predict = MajorityConfig().fit(schema(kind), task, train, test, seconds=1)
    frequencies = torch.bincount(train.target).double() / 400
    probabilities = task.predict(predict(test.inputs)).probabilities
    torch.testing.assert_close(probabilities.double(), frequencies.expand(100, -1))
    measured = measure(predict, task, test, replicates=0).estimates
    assert measured["accuracy"].value == pytest.approx(float((test.target == frequencies.argmax()).double().mean()))
    assert measured["roc_auc"].value == 0.5


def test_the_mean_baseline_explains_nothing_of_its_training_split():
    train, task = make("number", 300), task_of("number")
    predict = MeanConfig().fit(schema("number"), task, train, train, seconds=1)
    measured = measure(predict, task, train, replicates=0).estimates
    assert measured["r2"].value == pytest.approx(0, abs=1e-6)
    assert measured["rmse"].value == pytest.approx(2 * float(train.target.std(correction=0)), rel=1e-5)


@pytest.mark.parametrize("kind", ["binary", "classes", "number"])
def test_gradient_boosting_learns_from_numbers_categories_and_missing_values(kind):
    train, validation, test = make(kind, 600), make(kind, 150, seed=1), make(kind, 300, seed=2)
    task, chosen = task_of(kind), schema(kind)
    predict = GradientBoostingConfig(max_iter=40).fit(chosen, task, train, validation, seconds=60)
    measured = measure(predict, task, test, replicates=0).estimates
    blind = Table({**test.inputs, "missing": torch.zeros(300, 2), "categories": torch.zeros(300, 1, dtype=torch.int64)}, test.target)
    if kind == "number":
        assert measured["r2"].value > 0.7
    else:
        assert measured["accuracy"].value > 0.7  # the most frequent class has less than a half
    worse = measure(predict, task, blind, replicates=0).estimates[task.primary].value
    assert (worse > measured[task.primary].value) == (kind == "number")


def test_gradient_boosting_stops_when_its_time_is_up(monkeypatch):
    from modelwright.evaluation.baselines import gradient_boosting

    clock = iter(range(0, 10_000, 1))
    monkeypatch.setattr(gradient_boosting.time, "monotonic", lambda: float(next(clock)))
    rounds = []
    loss = gradient_boosting._loss
    monkeypatch.setattr(gradient_boosting, "_loss", lambda model, x, y: rounds.append(model.n_iter_) or loss(model, x, y))
    split = make("binary", 100)
    GradientBoostingConfig(max_iter=500).fit(schema("binary"), task_of("binary"), split, split, seconds=4.0)
    assert rounds[0] == 1
    assert rounds[-1] <= 3


def test_gradient_boosting_keeps_its_best_round():
    noise, fresh = make("binary", 200), make("binary", 200, seed=1)
    for seed, split in enumerate((noise, fresh)):
        split.target = torch.randint(0, 2, (200,), generator=torch.Generator().manual_seed(seed))
    task = task_of("binary")
    predict = GradientBoostingConfig(max_iter=100).fit(schema("binary"), task, noise, fresh, seconds=60)
    assert measure(predict, task, fresh, replicates=0).estimates["log_loss"].value < 0.75  # 100 rounds on noise give more than 1


def test_a_class_that_boosting_never_saw_keeps_a_small_probability():
    train, task = make("classes", 200), task_of("classes")
    train.target[train.target == 1] = 2
    predict = GradientBoostingConfig(max_iter=5).fit(schema("classes"), task, train, make("classes", 50, seed=3), seconds=60)
    probabilities = task.predict(predict(train.inputs)).probabilities
    assert probabilities.shape == (200, 3)
    assert 0 < float(probabilities[:, 1].max()) < 1e-5


def test_baselines_are_found_by_what_they_suit():
    assert [baseline.name for baseline in suitable_baselines(schema("binary"))] == ["gradient_boosting", "majority"]
    assert [baseline.name for baseline in suitable_baselines(schema("number"))] == ["gradient_boosting", "mean"]
    image = Schema(inputs=(Feature(name="image", type="image", shape=(1, 8, 8)),), target=schema("binary").target)
    assert [baseline.name for baseline in suitable_baselines(image)] == ["majority"]


def test_a_baseline_from_outside_needs_no_edit():
    @baselines.register("coin")
    class CoinConfig(BaselineConfig):
        name: str = "coin"

        def suits(self, schema):
            return len(schema.classes) == 2

        def fit(self, schema, task, train, validation, *, seconds, seed=0):
            return lambda inputs: torch.zeros(len(inputs["numbers"]), 1)

    try:
        assert "coin" in [baseline.name for baseline in suitable_baselines(schema("binary"))]
    finally:
        del baselines._parts["coin"]


@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (5, 5), (3, 11), (40, 70), (0, 2000)])
def test_mcnemar_equals_the_exact_binomial_test(counts):
    from scipy.stats import binomtest

    expected = binomtest(counts[0], sum(counts), 0.5).pvalue if sum(counts) else 1.0
    assert mcnemar(*counts) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", ["binary", "number"])
def test_a_paired_comparison_sees_what_two_intervals_cannot(kind):
    split, task = make(kind, 400), task_of(kind)
    outputs = split.target[:, None].float() * (6 if kind == "binary" else 1) - (3 if kind == "binary" else 0)
    noise = 3.0 * torch.randn(400, 1, generator=torch.Generator().manual_seed(1))
    worse = noise.clone()
    if kind == "binary":
        worse[:12] -= 100 * outputs[:12].sign()
        noise[:12] += 100 * outputs[:12].sign()
    else:
        worse[:] *= 1.05
    first, second = (lambda inputs, o=outputs + n: o for n in (noise, worse))
    found, reverse = (compare(*pair, task, split, batch_size=400) for pair in ((first, second), (second, first)))
    assert found.distinguishable
    assert reverse.distinguishable
    assert found.advantage.low > 0 > reverse.advantage.high
    assert not compare(first, first, task, split, batch_size=400).distinguishable
    alone = [measure(predict, task, split, batch_size=400).estimates[task.primary] for predict in (first, second)]
    assert alone[0].low <= alone[1].value <= alone[0].high
    advantage = alone[0].value - alone[1].value if kind == "binary" else (alone[1].value - alone[0].value) / 2
    assert found.advantage.value == pytest.approx(advantage, abs=1e-6)


def test_equal_predictors_are_told_apart_in_few_cases_only():
    task, told = task_of("number"), 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        split = make("number", 80, seed=seed)
        first, second = (split.target[:, None] + torch.randn(80, 1, generator=generator) for _ in range(2))
        told += compare(lambda inputs, o=first: o, lambda inputs, o=second: o, task, split).distinguishable
    assert told <= np.ceil(60 * 0.15)

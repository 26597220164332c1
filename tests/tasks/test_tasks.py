"""Tasks: their losses against PyTorch's own, their predictions, and how one is chosen."""

import json
import math
from typing import ClassVar, Literal

import pytest
import torch
from torch.nn import functional as F

from modelwright.core.config import validate
from modelwright.core.errors import InputError
from modelwright.core.schema import Feature, Schema
from modelwright.metrics.regression import RegressionMeter
from modelwright.tasks.binary import BinaryConfig
from modelwright.tasks.classification import ClassificationConfig
from modelwright.tasks.regression import RegressionConfig
from modelwright.tasks.task import Prediction, Task, TaskConfig, choose_task, tasks

NUMBER = Feature(name="x", type="number", mean=(0.0,), scale=(1.0,))


def schema(*classes, mean=12.0, scale=3.0):
    if classes:
        return Schema(inputs=(NUMBER,), target=Feature(name="kind", type="category", values=classes))
    return Schema(inputs=(NUMBER,), target=Feature(name="price", type="number", mean=(mean,), scale=(scale,)))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("soft", [False, True])
def test_classification_loss_and_gradient_equal_those_of_pytorch(label_smoothing, soft):
    task = ClassificationConfig(label_smoothing=label_smoothing).build(schema("a", "b", "c"))
    output = torch.randn(7, 3, requires_grad=True)
    target = torch.rand(7, 3).softmax(1) if soft else torch.randint(0, 3, (7,))
    loss, count = task.loss(output, target)
    (gradient,) = torch.autograd.grad(loss, output)
    smooth = (target if soft else F.one_hot(target, 3).float()) * (1 - label_smoothing) + label_smoothing / 3
    assert (count, loss.shape) == (7, ())
    torch.testing.assert_close(loss, -(smooth * output.log_softmax(1)).sum())
    torch.testing.assert_close(gradient, output.softmax(1) - smooth)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("soft", [False, True])
def test_one_logit_learns_what_two_would(label_smoothing, soft):
    task = BinaryConfig(label_smoothing=label_smoothing).build(schema("no", "yes"))
    output = torch.randn(9, 1, requires_grad=True)
    target = torch.rand(9, 2).softmax(1) if soft else torch.randint(0, 2, (9,))
    loss, count = task.loss(output, target)
    two = torch.cat([torch.zeros(9, 1), output], dim=1)
    reference = F.cross_entropy(two, target, reduction="sum", label_smoothing=label_smoothing)
    assert count == 9
    torch.testing.assert_close(loss, reference)
    torch.testing.assert_close(torch.autograd.grad(loss, output), torch.autograd.grad(reference, output))
    torch.testing.assert_close(task.predict(output).probabilities, two.softmax(1))


@pytest.mark.parametrize("delta", [None, 0.7])
def test_regression_loss_equals_that_of_pytorch(delta):
    task = RegressionConfig(huber_delta=delta).build(schema())
    output, target = torch.randn(11, 1, requires_grad=True), torch.randn(11)
    loss, count = task.loss(output, target)
    error = (output[:, 0] - target).abs()
    expected = error.square() if delta is None else torch.where(error < delta, error.square() / 2, delta * (error - delta / 2))
    assert count == 11
    torch.testing.assert_close(loss, expected.sum())


@pytest.mark.parametrize("config", [ClassificationConfig(), BinaryConfig(), RegressionConfig()])
def test_losses_are_float32_under_autocast(config):
    task = config.build(schema() if config.name == "regression" else schema("no", "yes"))
    head = torch.nn.Linear(4, task.outputs)
    target = torch.randn(6) if config.name == "regression" else torch.randint(0, 2, (6,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = head(torch.randn(6, 4))
        assert output.dtype == torch.bfloat16
        loss, _ = task.loss(output, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, task.loss(output.float(), target)[0])
    loss.backward()


def test_sums_of_losses_add_up_over_batches():
    task = ClassificationConfig(label_smoothing=0.1).build(schema("a", "b", "c"))
    output, target = torch.randn(10, 3), torch.randint(0, 3, (10,))
    parts = [task.loss(output[rows], target[rows]) for rows in (slice(0, 3), slice(3, 10))]
    whole, count = task.loss(output, target)
    torch.testing.assert_close(parts[0][0] + parts[1][0], whole)
    assert parts[0][1] + parts[1][1] == count


def test_predictions_become_rows_for_json():
    task = BinaryConfig().build(schema("no", "yes"))
    rows = task.predict(torch.tensor([[-1.0], [3.0]])).to_rows()
    assert [row["label"] for row in rows] == ["no", "yes"]
    assert rows[1]["confidence"] == rows[1]["probabilities"]["yes"] == pytest.approx(1 / (1 + math.exp(-3)))
    prediction = RegressionConfig().build(schema(mean=12.0, scale=3.0)).predict(torch.tensor([[0.0], [2.0]]))
    assert prediction.to_rows() == [{"value": 12.0}, {"value": 18.0}]
    assert prediction.labels == []
    json.dumps([rows, prediction.to_rows()], allow_nan=False)


@pytest.mark.parametrize("config", [ClassificationConfig(), BinaryConfig()])
def test_as_output_is_the_inverse_of_predict(config):
    task = config.build(schema("no", "yes"))
    belief = torch.rand(8, 2).softmax(1)
    torch.testing.assert_close(task.predict(task.as_output(belief)).probabilities, belief)
    assert task.as_output(belief).shape == (8, task.outputs)


@pytest.mark.parametrize("config", [ClassificationConfig(), BinaryConfig(), RegressionConfig()])
def test_the_primary_metric_is_one_that_the_meter_gives(config):
    task = config.build(schema() if config.name == "regression" else schema("no", "yes"))
    meter = task.meter(replicates=10, seed=3)
    meter.update(torch.randn(12, task.outputs), torch.randn(12) if config.name == "regression" else torch.arange(12) % 2)
    assert task.primary in meter.compute()
    assert meter.compute()[task.primary].low < meter.compute()[task.primary].high


def test_the_task_follows_from_the_target():
    assert choose_task(schema("no", "yes")).name == "binary"
    assert choose_task(schema("a", "b", "c")).name == "classification"
    assert choose_task(schema()).name == "regression"
    assert choose_task(schema("no", "yes"), ClassificationConfig(label_smoothing=0.1)) == ClassificationConfig(label_smoothing=0.1)


def test_a_task_that_does_not_fit_is_refused_with_those_that_do():
    with pytest.raises(InputError, match=r"the task regression can't learn the target 'kind' \(binary\); expected one of binary, classif"):
        choose_task(schema("no", "yes"), RegressionConfig())
    with pytest.raises(InputError, match=r"binary can't learn the target 'price' \(number\); expected one of regression"):
        choose_task(schema(), BinaryConfig())
    with pytest.raises(InputError, match="no task can learn"):
        choose_task(schema("alone"))


def test_wrong_settings_are_refused():
    for config, values in (
        (BinaryConfig, {"label_smoothing": 1.0}),
        (RegressionConfig, {"huber_delta": 0.0}),
        (BinaryConfig, {"smooth": 1}),
    ):
        with pytest.raises(InputError):
            validate(config, values)


@pytest.fixture
def ordinal():
    """A task from outside the package: the number of a class on a scale."""

    @tasks.register("ordinal")
    class OrdinalConfig(TaskConfig):
        preference: ClassVar[int] = 99
        name: Literal["ordinal"] = "ordinal"

        @classmethod
        def learns(cls, target):
            return target.type == "category" and target.values[0] == "never"

        def build(self, schema):
            return Ordinal()

    class Ordinal(Task):
        outputs, primary, higher_is_better = 1, "mae", False

        def loss(self, output, target):
            return (output.squeeze(1) - target).abs().sum(), len(output)

        def meter(self, replicates=0, seed=0):
            return RegressionMeter(0.0, 1.0, replicates=replicates, seed=seed)

        def predict(self, output):
            return Prediction(output.squeeze(1))

    yield OrdinalConfig
    del tasks._parts["ordinal"]


def test_a_task_from_outside_needs_no_edit(ordinal):
    grades = schema("never", "sometimes", "always")
    config = choose_task(grades)
    assert isinstance(config, ordinal)
    meter = config.build(grades).meter()
    meter.update(torch.tensor([[0.5], [1.0]]), torch.tensor([0, 1]))
    assert meter.compute()["mae"].value == 0.25
    assert choose_task(schema("a", "b", "c")).name == "classification"


def test_predictions_keep_the_digits_of_a_large_mean():
    task = RegressionConfig().build(schema(mean=1_700_000_000.0, scale=3.0))
    assert task.predict(torch.tensor([[0.0], [1.0]])).value.tolist() == [1_700_000_000.0, 1_700_000_003.0]
    assert task.predict(torch.tensor([[0.5]], dtype=torch.bfloat16)).to_rows() == [{"value": 1_700_000_001.5}]

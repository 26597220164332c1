"""Classification metrics against scikit-learn and torchmetrics, streamed in ragged batches."""

import json
import math
import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from modelwright.core.errors import DivergedError, InputError
from modelwright.metrics.classification import ClassificationMeter


def draw(n=700, classes=5, seed=0, skill=1.5, prior=None):
    """Logits (n, classes) and targets (n,) of a model with some skill."""
    generator = torch.Generator().manual_seed(seed)
    prior = torch.ones(classes) if prior is None else torch.tensor(prior)
    target = torch.multinomial(prior, n, replacement=True, generator=generator)
    logits = torch.randn(n, classes, generator=generator) * 1.3
    logits[torch.arange(n), target] += skill
    return logits, target


def measure(logits, target, batches=(1, 7, 128, 300), classes=None, **options):
    meter = ClassificationMeter([f"c{index}" for index in range(classes or max(2, logits.shape[1]))], **options)
    start = 0
    for size in [*batches, len(target)]:
        if start < len(target):
            meter.update(logits[start : start + size], target[start : start + size])
            start += size
    return meter


def values(meter):
    return {name: estimate.value for name, estimate in meter.compute().items()}


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_values_equal_those_of_scikit_learn(classes):
    logits, target = draw(classes=classes, prior=[1.0 + index for index in range(classes)])
    found = values(measure(logits, target))
    y, p = target.numpy(), logits.double().softmax(1).numpy()
    prediction, average = p.argmax(1), "binary" if classes == 2 else "macro"
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(y, prediction))
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(y, prediction))
    assert found["precision"] == pytest.approx(reference.precision_score(y, prediction, average=average))
    assert found["recall"] == pytest.approx(reference.recall_score(y, prediction, average=average))
    assert found["f1"] == pytest.approx(reference.f1_score(y, prediction, average=average))
    assert found["log_loss"] == pytest.approx(reference.log_loss(y, p), rel=1e-6)
    auc = reference.roc_auc_score(y, p[:, 1]) if classes == 2 else reference.roc_auc_score(y, p, multi_class="ovr")
    assert found["roc_auc"] == pytest.approx(auc, abs=2e-4)


@pytest.mark.parametrize("classes", [2, 4])
def test_values_equal_those_of_torchmetrics(classes):
    import torchmetrics.functional.classification as oracle

    logits, target = draw(classes=classes, seed=3)
    meter = measure(logits, target)
    found, p = values(meter), logits.softmax(1)
    assert found["calibration_error"] == pytest.approx(float(oracle.multiclass_calibration_error(p, target, classes, n_bins=15)), abs=1e-5)
    assert found["balanced_accuracy"] == pytest.approx(float(oracle.multiclass_recall(p, target, classes, average="macro")), abs=1e-6)
    matrix = oracle.multiclass_confusion_matrix(p, target, classes)
    assert meter.details()["confusion_matrix"] == matrix.tolist()
    auc = oracle.binary_auroc(p[:, 1], target) if classes == 2 else oracle.multiclass_auroc(p, target, classes)
    assert found["roc_auc"] == pytest.approx(float(auc), abs=2e-4)
    if classes > 2:
        assert found["f1"] == pytest.approx(float(oracle.multiclass_f1_score(p, target, classes, average="macro")), abs=1e-6)


def test_classes_absent_from_the_split_are_averaged_over_as_scikit_learn_does():
    logits, target = draw(classes=6, seed=4)
    logits[:, 5] -= 100  # never predicted, never a target
    target[target >= 4] = 0  # class 4 is predicted but never a target
    found = values(measure(logits, target))
    y, prediction = target.numpy(), logits.argmax(1).numpy()
    assert 4 in prediction
    assert 5 not in prediction
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(y, prediction))
        for name, score in (("precision", reference.precision_score), ("recall", reference.recall_score), ("f1", reference.f1_score)):
            assert found[name] == pytest.approx(score(y, prediction, average="macro", zero_division=0))
    p = logits.double().softmax(1).numpy()
    present = [reference.roc_auc_score(y == index, p[:, index]) for index in range(4)]
    assert found["roc_auc"] == pytest.approx(np.mean(present), abs=2e-4)


@pytest.mark.parametrize("spread", [1e-3, 1.0, 300.0])
def test_streamed_area_is_accurate_for_timid_and_for_overconfident_models(spread):
    logits, target = draw(n=3000, classes=4, seed=5, skill=0.8)
    logits *= spread
    logits += torch.tensor([0.0, -1.0, 0.5, 0.2])
    found = values(measure(logits, target))["roc_auc"]
    z = logits.double()
    others = torch.stack([z[:, [i for i in range(4) if i != k]].logsumexp(1) for k in range(4)], 1)
    exact = np.mean([reference.roc_auc_score(target.numpy() == k, (z - others)[:, k].numpy()) for k in range(4)])
    assert found == pytest.approx(exact, abs=1e-3 if spread >= 1 else 3e-2)


def test_two_logits_and_their_difference_are_the_same_model():
    logits, target = draw(classes=2, seed=6)
    two, one = measure(logits, target, replicates=20), measure(logits[:, 1:] - logits[:, :1], target, replicates=20)
    for name, estimate in two.compute().items():
        assert one.compute()[name].to_dict() == pytest.approx(estimate.to_dict(), abs=2e-4)


def test_streaming_equals_one_shot_with_its_intervals():
    logits, target = draw(seed=7)
    ragged, whole = measure(logits, target, replicates=50), measure(logits, target, batches=(), replicates=50)
    for name, estimate in whole.compute().items():
        tolerance = 5e-3 if name == "roc_auc" else 1e-9  # the area's coarse edges come from the first batch
        assert ragged.compute()[name].to_dict() == pytest.approx(estimate.to_dict(), abs=tolerance)
    exact = ("count", "classes", "per_class", "confusion_matrix", "most_confused")
    assert {key: ragged.details()[key] for key in exact} == {key: whole.details()[key] for key in exact}


def test_the_seed_decides_the_interval_and_nothing_else():
    logits, target = draw(seed=8)
    first, again, other = (measure(logits, target, replicates=30, seed=seed).compute() for seed in (1, 1, 2))
    assert first == again
    assert first["f1"].low != other["f1"].low
    assert first["f1"].value == other["f1"].value


def test_without_replicates_there_are_values_alone():
    logits, target = draw(seed=9)
    bare, full = measure(logits, target).compute(), measure(logits, target, replicates=20).compute()
    assert list(bare) == list(full)
    for name, estimate in bare.items():
        assert estimate.low == estimate.value == estimate.high == pytest.approx(full[name].value)


def test_all_right_never_means_certain():
    target = torch.arange(40) % 4
    found = measure(torch.eye(4)[target] * 30, target, replicates=100).compute()
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc"):
        assert found[name].value == found[name].high == 1
        assert 0.85 < found[name].low < 0.97, name
    assert found["calibration_error"].value == pytest.approx(0, abs=1e-9)


def test_all_wrong_never_means_certain():
    target = torch.arange(40) % 2
    found = measure(torch.eye(2)[1 - target] * 30, target, replicates=100).compute()
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc"):
        assert found[name].value == found[name].low == 0
        assert 0.03 < found[name].high < 0.2, name


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("n", [1, 5])
def test_one_class_in_the_split_leaves_out_the_area_and_nothing_is_nan(n, classes):
    logits, _ = draw(n=n, classes=classes, seed=10)
    meter = measure(logits, torch.zeros(n, dtype=torch.int64), replicates=50)
    found = meter.compute()
    assert "roc_auc" not in found
    assert len(found) == 7
    json.dumps([{name: estimate.to_dict() for name, estimate in found.items()}, meter.details()], allow_nan=False)


def test_an_output_that_is_no_number_is_an_error():
    logits, target = draw(n=6)
    for wrong in (math.nan, math.inf):
        logits[2, 1] = wrong
        with pytest.raises(DivergedError, match="1 of 6 outputs"):
            measure(logits, target, batches=())


def test_nothing_seen_is_an_error():
    with pytest.raises(InputError, match="no example"):
        ClassificationMeter(["a", "b"]).compute()


def test_details_tell_of_each_class_and_of_calibration():
    logits, target = draw(classes=3, seed=11)
    meter = measure(logits, target)
    details, prediction = meter.details(), logits.argmax(1).numpy()
    precision, recall, f1, support = reference.precision_recall_fscore_support(target.numpy(), prediction)
    for index, row in enumerate(details["per_class"]):
        assert (row["class"], row["support"]) == (f"c{index}", support[index])
        assert (row["precision"], row["recall"], row["f1"]) == pytest.approx((precision[index], recall[index], f1[index]))
    bins = details["calibration"]
    assert sum(row["count"] for row in bins) == 700
    assert all(row["low"] <= row["confidence"] <= row["high"] for row in bins)
    error = sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in bins) / 700
    assert error == pytest.approx(values(meter)["calibration_error"])
    matrix = np.array(details["confusion_matrix"])
    np.fill_diagonal(matrix, 0)
    assert details["most_confused"][0]["count"] == matrix.max()
    assert sum(row["count"] for row in details["most_confused"]) == matrix.sum()


def test_a_thousand_classes_fit_into_bounded_memory():
    logits, target = draw(n=400, classes=1000, seed=12, skill=6)
    meter = measure(logits, target, batches=(), replicates=200)
    found = meter.compute()
    assert "confusion_matrix" not in meter.details()
    tensors = [t for part in (meter, meter._ranking, meter._calibration) for t in vars(part).values() if isinstance(t, torch.Tensor)]
    assert len(tensors) >= 9
    assert sum(t.numel() * t.element_size() for t in tensors) < 120e6
    assert found["roc_auc"].low < found["roc_auc"].value <= found["roc_auc"].high
    y, p = target.numpy(), logits.double().softmax(1).numpy()
    exact = np.mean([reference.roc_auc_score(y == k, p[:, k]) for k in sorted(set(y.tolist()))])
    assert found["roc_auc"].value == pytest.approx(exact, abs=1e-3)

"""The summary's file, its first line and its tables."""

import io
import json

import pytest
import torch
from rich.console import Console

from modelwright.evaluation.comparison import Comparison
from modelwright.evaluation.summary import Evaluation
from modelwright.evaluation.tables import tables
from modelwright.metrics.classification import ClassificationMeter
from modelwright.metrics.estimate import Estimate


def evaluation(model, baselines, primary="accuracy", **options):
    values = {"train": (0.99, 0.98, 0.995), "validation": (0.9, 0.88, 0.92), "test": model}
    if primary == "rmse":
        values = {"test": model}
    return Evaluation(
        primary=primary,
        higher_is_better=primary != "rmse",
        splits={name: {primary: Estimate(*value)} for name, value in values.items()},
        baselines={name: {primary: Estimate(*value)} for name, value in baselines.items()},
        **options,
    )


MODEL = (0.85, 0.84, 0.86)


def test_a_better_baseline_is_said_first():
    line = evaluation(MODEL, {"majority": (0.7, 0.69, 0.71), "linear": (0.88, 0.87, 0.89)}).first_line()
    assert line == "The baseline linear is better than the model: accuracy 88.0 % (87.0-89.0) against 85.0 % (84.0-86.0) on the test split."


def test_a_slightly_better_baseline_is_said_first_with_the_doubt():
    line = evaluation(MODEL, {"linear": (0.855, 0.845, 0.865)}).first_line()
    assert line.startswith("The baseline linear is better than the model, though not distinguishably: accuracy 85.5 %")
    sure = Comparison(Estimate(-0.005, -0.006, -0.004), p_value=0.001, examples=900)
    line = evaluation(MODEL, {"linear": (0.855, 0.845, 0.865)}, comparisons={"linear": sure}).first_line()
    assert line.startswith("The baseline linear is better than the model: accuracy 85.5 %")


def test_a_beaten_baseline_comes_after_the_score():
    line = evaluation(MODEL, {"linear": (0.8, 0.79, 0.81)}).first_line()
    assert line == "The model reaches accuracy 85.0 % (84.0-86.0) on the test split; the best baseline, linear, 80.0 % (79.0-81.0)."
    line = evaluation(MODEL, {"linear": (0.849, 0.83, 0.86)}).first_line()
    assert line.endswith("the best baseline, linear, 84.9 % (83.0-86.0), not distinguishable from it.")
    assert evaluation(MODEL, {"linear": MODEL}).first_line().startswith("The model reaches")
    assert evaluation(MODEL, {}).first_line() == "The model reaches accuracy 85.0 % (84.0-86.0) on the test split."


def test_a_lower_error_is_better():
    worse = evaluation((3.1, 2.9, 3.3), {"mean": (9.0, 8.0, 10.0)}, "rmse")
    assert worse.first_line().startswith("The model reaches RMSE 3.1 (2.9-3.3) on the test split; the best baseline, mean, 9 (8-10).")
    better = evaluation((3.1, 2.9, 3.3), {"mean": (9.0, 8.0, 10.0), "gradient_boosting": (2.0, 1.8, 2.2)}, "rmse")
    assert better.best_baseline == "gradient_boosting"
    assert better.first_line().startswith("The baseline gradient_boosting is better than the model: RMSE 2.0")
    assert better.gap == {}


def test_the_file_has_its_shape_and_is_read_as_written():
    comparison = Comparison(Estimate(0.15, 0.13, 0.17), p_value=0.001, examples=900)
    found = evaluation(MODEL, {"majority": (0.7, 0.69, 0.71)}, comparisons={"majority": comparison}, details={"test": {"count": 900}})
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert written["splits"]["test"]["accuracy"] == {"value": 0.85, "low": 0.84, "high": 0.86}
    assert written["baselines"]["majority"] == {"accuracy": {"value": 0.7, "low": 0.69, "high": 0.71}}
    assert written["gap"] == pytest.approx({"train-test": 0.14, "validation-test": 0.05})
    assert Evaluation.from_json(written) == found


def test_the_judged_split_is_the_test_split_if_there_is_one():
    splits = {name: {"accuracy": Estimate(*MODEL)} for name in ("train", "validation", "test")}
    assert Evaluation("accuracy", True, splits).judged == "test"
    assert Evaluation("accuracy", True, {name: splits[name] for name in ("train", "validation")}).judged == "validation"
    assert Evaluation("accuracy", True, {"given": splits["test"]}).judged == "given"


def render(found):
    console = Console(width=80, file=io.StringIO(), color_system=None)
    for table in tables(found):
        console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("classes", [2, 8, 12, 40])
def test_tables_fit_eighty_columns(classes):
    names = [f"[red] class number {index} of many" for index in range(classes)]
    meter = ClassificationMeter(names, replicates=30)
    meter.update(torch.randn(4000, classes), torch.arange(4000) % classes)
    estimates = meter.compute()
    found = Evaluation(
        "accuracy",
        True,
        {"train": estimates, "validation": estimates, "test": estimates},
        {"gradient_boosting": estimates, "majority": {"accuracy": estimates["accuracy"]}},
        {"test": meter.details()},
    )
    text = render(found)
    assert all(len(line) <= 80 for line in text.splitlines())
    head, body = text.split("on test")
    assert "…" not in head + body.split("true")[0]
    assert head.split("balanced")[0].count(estimates["accuracy"].percent()) == 3
    for metric in ("balanced accuracy", "F1", "ROC-AUC", "log loss", "calibration error"):
        assert metric in head
    assert body.index("this model") < body.index("gradient_boosting") < body.index("majority")
    assert "[red]" in body
    assert ("most confused" in body) == (classes > 12)

"""`compare`: runs on the same examples, on other ones, and what can't be compared."""

from __future__ import annotations

import json
import shutil

import pytest

from modelwright.cli import main
from modelwright.metrics.estimate import Estimate
from modelwright.reporting.comparison import Contrast, comparison_page
from modelwright.workflows.compare import apart, compare


@pytest.fixture(scope="session")
def other(table, tmp_path_factory):
    """Another model of the same table."""
    output = tmp_path_factory.mktemp("runs") / "other"
    assert main(["train", str(table), "--family", "linear", "--budget", "3 steps", "--output", str(output), "--quiet"]) == 0
    return output


def test_runs_of_the_same_data_are_compared_on_their_test_examples(run, other):
    result = compare([other, run])
    (contrast,) = result.contrasts
    assert contrast.basis == "test"
    assert contrast.examples == 30
    assert contrast.first == "run"
    assert contrast.advantage.low <= contrast.advantage.value <= contrast.advantage.high
    kept = [json.loads((path / "errors.json").read_text())["values"] for path in (run, other)]
    assert contrast.advantage.value == pytest.approx((sum(kept[1]) - sum(kept[0])) / 30)


def test_without_kept_errors_the_validation_split_is_evaluated(run, other, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(other, copy)
    (copy / "errors.json").unlink()
    (contrast,) = compare([run, copy]).contrasts
    assert contrast.basis == "validation"


def test_other_examples_leave_the_intervals(run, other, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(other, copy)
    (copy / "errors.json").write_text("{broken")
    (copy / "recipe.yaml").write_text((copy / "recipe.yaml").read_text().replace("table.csv", "gone.csv"))
    (contrast,) = compare([run, copy]).contrasts
    assert contrast.basis == "intervals"
    assert "their intervals alone" in contrast.sentence()


def test_equal_runs_are_not_told_apart(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    (contrast,) = compare([run, tmp_path / "copy"]).contrasts
    assert contrast.p_value == 1.0
    assert not contrast.distinguishable


def test_the_table_fits_80_columns_and_json_is_whole(command, run, other, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = command("compare", run, other)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    code, out, _ = command("compare", run, other, "--json")
    found = json.loads(out)
    assert [row["family"] for row in found["runs"]] == ["mlp", "linear"]
    assert found["comparisons"][0]["basis"] == "test"


def test_the_page_stands_alone(command, run, other, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    code, _, _ = command("compare", run, other, "--output", tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert code == 0
    assert all(f'id="{name}"' in html for name in ("scores", "differences", "curves", "cost", "recipes"))
    assert "model.family" in html
    assert "<script" not in html
    assert len(html) < 3_000_000


@pytest.mark.parametrize("case", ["one", "twice", "none", "unfinished"])
def test_what_cant_be_compared_is_refused(command, run, other, tmp_path, case):
    unfinished = tmp_path / "unfinished"
    shutil.copytree(other, unfinished)
    (unfinished / "evaluation.json").unlink()
    arguments = {"one": [run], "twice": [run, run], "none": [run, tmp_path / "none"], "unfinished": [run, unfinished]}[case]
    code, _, err = command("compare", *arguments)
    assert code == 2
    assert {"one": "one run", "twice": "named twice", "none": "does not exist", "unfinished": "finished"}[case] in err


def test_runs_of_other_tasks_are_refused(command, run, other, tmp_path):
    strange = tmp_path / "strange"
    shutil.copytree(other, strange)
    values = json.loads((strange / "evaluation.json").read_text())
    (strange / "evaluation.json").write_text(json.dumps({**values, "primary": "log_loss"}))
    code, _, err = command("compare", run, strange)
    assert code == 2
    assert "different tasks" in err


def test_scores_far_apart_are_told_apart_by_their_intervals():
    near, far = Estimate(0.9, 0.86, 0.94), Estimate(0.5, 0.46, 0.54)
    assert apart(near, far, higher_is_better=True).p_value < 1e-6
    assert apart(near, Estimate(0.89, 0.85, 0.93), higher_is_better=True).p_value > 0.5
    assert apart(far, near, higher_is_better=False).advantage.value == pytest.approx(0.4)


def changed(folder, output, change):
    """A copy of a run whose evaluation.json is another one."""
    shutil.copytree(folder, output)
    values = json.loads((output / "evaluation.json").read_text())
    change(values)
    (output / "evaluation.json").write_text(json.dumps(values))
    return output


def test_runs_are_put_in_order_by_a_split_that_all_were_judged_on(run, other, tmp_path):
    untested = changed(other, tmp_path / "untested", lambda values: values["splits"].pop("test"))
    result = compare([run, untested])
    assert result.split == "validation"
    assert {row["split"] for row in result.to_json()["runs"]} == {"validation"}


def test_other_data_is_another_task(command, run, other, tmp_path):
    strange = tmp_path / "strange"
    shutil.copytree(other, strange)
    for name in ("run.json", "model/bundle.json"):
        values = json.loads((strange / name).read_text())
        values["data_schema"]["target"] = {**values["data_schema"]["target"], "values": ["no", "perhaps"]}
        (strange / name).write_text(json.dumps(values))
    code, _, err = command("compare", run, strange)
    assert code == 2
    assert "different tasks" in err


def test_a_damaged_evaluation_is_named(command, run, other, tmp_path):
    for place, change in enumerate((dict.clear, lambda values: values.pop("primary"), lambda values: values.update(baselines=[1]))):
        damaged = changed(other, tmp_path / str(place), change)
        code, _, err = command("compare", run, damaged)
        assert code == 2
        assert "damaged" in err


def test_the_best_score_is_not_called_better_where_the_examples_say_the_opposite(run, other):
    views = compare([run, other]).views
    worse = Contrast("a", "b", Estimate(-0.1, -0.15, -0.05), "accuracy", "validation", 100, 0.001, True)
    assert "no difference" in comparison_page(views, ["a", "b"], [worse], "test").summary

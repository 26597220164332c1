"""`train`: what it writes, that it resumes to the same bits, and that wrong input leaves nothing behind."""

import errno
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml

from modelwright.core.errors import RunInterrupted
from modelwright.core.run import Run
from modelwright.training.hook import Hook
from modelwright.workflows import judge as judge_module
from modelwright.workflows import train as train_module
from modelwright.workflows.recipe import load_recipe
from modelwright.workflows.train import train


def test_a_run_holds_everything(run):
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "recipe.yaml",
        "run.json",
        "ledger.jsonl",
        "metrics.jsonl",
        "evaluation.json",
        "model",
        "checkpoints",
        "log.txt",
        "tensorboard",
    }
    assert {path.name for path in (run / "model").iterdir()} == {"bundle.json", "model.safetensors"}
    assert not list(run.rglob("*.pkl")) + list(run.rglob("*.pt"))
    assert "read" in (run / "log.txt").read_text()


def test_the_recipe_in_the_run_is_complete_and_gives_the_same_run(run, tmp_path):
    recipe = load_recipe(run / "recipe.yaml")
    assert recipe.training.precision in ("float32", "bfloat16")
    assert recipe.stem is not None
    assert recipe.task is not None
    again = train(recipe, output=tmp_path / "again")
    one, two = (safetensors.torch.load_file(path / "model" / "model.safetensors") for path in (run, again.run.path))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_evaluation_and_ledger_have_their_contracted_shape(run):
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert set(evaluation["splits"]) == {"train", "validation", "test"}
    for estimates in evaluation["splits"].values():
        assert set(estimates["accuracy"]) == {"value", "low", "high"}
        assert estimates["accuracy"]["low"] <= estimates["accuracy"]["value"] <= estimates["accuracy"]["high"]
    assert set(evaluation["baselines"]) == {"majority", "linear", "gradient_boosting"}
    rows = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
    assert all(set(row) == {"quantity", "unit", "forecast", "low", "high", "measured", "when"} for row in rows)
    entries = Run.open(run).ledger.entries()
    assert entries["parameters"].measured == entries["parameters"].forecast
    assert entries["training time"].measured is not None


def test_it_learns(run):
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["splits"]["test"]["accuracy"]["value"] > evaluation["baselines"]["majority"]["accuracy"]["value"] + 0.1


def test_json_is_one_object_on_standard_output(command, table, tmp_path):
    code, out, err = command("train", table, "--family", "linear", "--budget", "5 steps", "--output", tmp_path / "run", "--json")
    assert code == 0
    answer = json.loads(out)
    assert answer["run"] == str(tmp_path / "run")
    assert answer["evaluation"]["splits"]["test"]["accuracy"]
    assert {row["quantity"] for row in answer["ledger"]} >= {"parameters", "training time"}
    assert "read" in err


class _Interrupt(Hook):
    def on_step(self, info):
        if info.step == 20:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_run_goes_on_to_the_same_bits(table, tmp_path, monkeypatch):
    settings = ["model.family=mlp", "model.dropout=0.2", "training.budget=50 steps", "training.precision=float32", "training.ema=0.05"]
    whole = train(str(table), output=tmp_path / "whole", settings=settings)
    hooks = train_module._hooks
    monkeypatch.setattr(train_module, "_hooks", lambda *arguments: [*hooks(*arguments), _Interrupt()])
    with pytest.raises(RunInterrupted, match=r"modelwright train --resume .*part"):
        train(str(table), output=tmp_path / "part", settings=settings)
    monkeypatch.setattr(train_module, "_hooks", hooks)
    assert not (tmp_path / "part" / "model").exists()
    resumed = train(resume=tmp_path / "part")
    one, two = (safetensors.torch.load_file(path / "model" / "model.safetensors") for path in (whole.run.path, resumed.run.path))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert resumed.evaluation.splits == whole.evaluation.splits


def test_an_interrupted_command_exits_with_130(command, table, tmp_path, monkeypatch):
    hooks = train_module._hooks
    monkeypatch.setattr(train_module, "_hooks", lambda *arguments: [*hooks(*arguments), _Interrupt()])
    code, _, err = command("train", table, "--family", "mlp", "--budget", "50 steps", "--output", tmp_path / "run")
    assert code == 130
    assert "--resume" in err


def test_resuming_changed_data_is_refused(command, table, tmp_path, monkeypatch):
    data = tmp_path / "data.csv"
    data.write_text(table.read_text())
    hooks = train_module._hooks
    monkeypatch.setattr(train_module, "_hooks", lambda *arguments: [*hooks(*arguments), _Interrupt()])
    assert command("train", data, "--family", "mlp", "--budget", "50 steps", "--output", tmp_path / "run")[0] == 130
    monkeypatch.setattr(train_module, "_hooks", hooks)
    data.write_text(table.read_text() + "1.0,2.0,red,yes\n")
    code, _, err = command("train", "--resume", tmp_path / "run")
    assert code == 2
    assert "the data changed" in err


def test_a_finished_run_is_shown_when_resumed(command, run):
    code, out, _ = command("train", "--resume", run)
    assert code == 0
    assert "finished already" in out


def test_a_diverging_run_says_where_and_what_to_do(command, table, tmp_path):
    code, _, err = command(
        "train", table, "--family", "mlp", "--budget", "200 steps", "--output", tmp_path / "run",
        "--set", "training.optimizer={name: sgd, learning_rate: 1e30}", "--set", "training.clip_norm=null",
    )  # fmt: skip
    assert code == 1
    assert "diverged" in err
    assert "step" in err
    assert "learning rate" in err


WRONG = {
    "run folder that exists": (["--output", "{taken}"], "exists and is not empty"),
    "budget of zero": (["--budget", "0s"], "buys nothing"),
    "budget without unit": (["--budget", "12"], "can't read the budget"),
    "unknown unit": (["--budget", "3 epohcs"], "Did you mean epochs"),
    "unknown family": (["--family", "lstmm"], "Did you mean lstm"),
    "family that doesn't fit": (["--family", "cnn"], "doesn't fit a table"),
    "unknown key": (["--set", "training.learning_rat=3"], "unknown key"),
    "wrong type": (["--set", "training.batch_size=many"], "training.batch_size"),
    "setting without value": (["--set", "training.batch_size"], "key=value"),
    "target that doesn't exist": (["--target", "anwser"], "answer"),
    "type of a column that doesn't exist": (["--type", "colour=category"], "color"),
    "unknown type": (["--type", "color=colour"], "data.types.color"),
    "augmentation of images on a table": (["--set", "training.augmentations=[{name: flip}]"], "flip"),
    "budget that is too small": (["--budget", "0.01s"], "before training"),
    "budget in tokens": (["--budget", "1M tokens"], "tokens"),
    "delimiter of two characters": (["--delimiter", ";;"], "delimiter"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_sentence_and_leaves_nothing(command, table, tmp_path, case):
    arguments, expected = WRONG[case]
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").write_text("mine")
    given = [argument.replace("{taken}", str(taken)) for argument in arguments]
    defaults = {"--family": "mlp", "--budget": "5 steps", "--output": str(tmp_path / "run")}
    for option, value in defaults.items():
        if option not in given:
            given += [option, value]
    code, out, err = command("train", table, *given)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err + out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]
    assert [path.name for path in taken.iterdir()] == ["file"]


def test_a_wrong_key_in_a_recipe_file_is_named_with_its_line(command, tmp_path, table):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data: {{path: {table}}}\nmodel: mlp\ntraining:\n  optimizer:\n    name: adamw\n    learning_rat: 0.1\n")
    code, _, err = command("train", recipe, "--output", tmp_path / "run")
    assert code == 2
    assert "line 6" in err
    assert "Did you mean learning_rate" in err


def test_a_full_disk_is_wrong_input_and_leaves_nothing(command, table, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = command("train", table, "--family", "mlp", "--budget", "5 steps", "--output", tmp_path / "run")
    assert code == 2
    assert "disk is full" in err
    assert not (tmp_path / "run").exists()


def test_overrides_reach_nested_parts(table, tmp_path):
    outcome = train(
        str(table), output=tmp_path / "run",
        settings=["model.family=mlp", "training.budget=5 steps", "training.optimizer=sgd", "training.optimizer.momentum=0.5"],
    )  # fmt: skip
    written = yaml.safe_load((outcome.run.path / "recipe.yaml").read_text())
    assert written["training"]["optimizer"]["name"] == "sgd"
    assert written["training"]["optimizer"]["momentum"] == 0.5


def test_a_command_stopped_before_training_leaves_nothing(command, table, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_module, "fit_baselines", stop)
    code, _, err = command("train", table, "--family", "mlp", "--budget", "5 steps", "--output", tmp_path / "run")
    assert code == 130
    assert "nothing to keep" in err or "before there was anything" in err
    assert not (tmp_path / "run").exists()


def test_a_command_stopped_while_judging_goes_on(command, table, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    judge = train_module.judge
    monkeypatch.setattr(train_module, "judge", stop)
    code, _, err = command("train", table, "--family", "mlp", "--budget", "5 steps", "--output", tmp_path / "run")
    assert code == 130
    assert f"--resume {tmp_path / 'run'}" in " ".join(err.split())
    monkeypatch.setattr(train_module, "judge", judge)
    assert command("train", "--resume", tmp_path / "run")[0] == 0
    assert (tmp_path / "run" / "evaluation.json").is_file()


def test_settings_of_a_model_without_a_family_are_refused(command, table, tmp_path):
    code, _, err = command("train", table, "--set", "model.width=64", "--output", tmp_path / "run")
    assert code == 2
    assert "needs a family" in err


def test_an_optimizer_setting_without_a_name_is_the_default_one_s(table, tmp_path):
    settings = ["model=linear", "training.budget=5 steps", "training.optimizer.learning_rate=0.5"]
    outcome = train(str(table), output=tmp_path / "run", settings=settings)
    optimizer = yaml.safe_load((outcome.run.path / "recipe.yaml").read_text())["training"]["optimizer"]
    assert (optimizer["name"], optimizer["learning_rate"]) == ("adamw", 0.5)


def test_a_full_disk_is_told_wherever_it_is_met(command, table, tmp_path, monkeypatch):
    opened = Path.open

    def full(self, mode="r", *arguments, **options):
        if "a" in mode and self.name == "log.txt":
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    code, _, err = command("train", table, "--family", "mlp", "--budget", "5 steps", "--output", tmp_path / "run")
    assert code == 2
    assert "disk is full" in err
    assert not (tmp_path / "run").exists()


def test_a_short_budget_judges_a_part_of_large_splits_and_says_so(command, table, tmp_path, monkeypatch):
    judged = []

    def stop(run, job, *arguments, **more):
        judged.append({name: len(split) for name, split in job.dataset.splits.items()})
        raise KeyboardInterrupt

    monkeypatch.setattr(judge_module, "JUDGING_SHARE", 1e-9)
    monkeypatch.setattr(judge_module, "THOROUGH", replace(judge_module.THOROUGH, fewest=20))
    monkeypatch.setattr(train_module, "_fit", stop)
    plain = ("--set", "training.compile=false", "--set", "baselines=false")
    for budget, size in (("1h", 20), ("2 steps", 30)):
        folder = tmp_path / budget
        _, out, err = command("train", table, "--family", "mlp", *plain, "--output", folder, "--budget", budget)
        assert json.loads((folder / "run.json").read_text())["held_out"] == {"validation": size, "test": size}
        told = "judged on 20 of 30 validation and 20 of 30 test examples" in " ".join((out + err).split())
        assert told == (budget == "1h")
        with pytest.raises(RunInterrupted):
            train(resume=folder)
        assert judged[-1] == judged[-2] == {"train": 240, "validation": size, "test": size}

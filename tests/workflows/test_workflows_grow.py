"""The verb `grow`, end to end: a larger model of a run, from the command line and from Python."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch
import yaml

import modelwright as mw
from modelwright.core.run import Run
from modelwright.growth.families.mlp import MLPGrower
from modelwright.serving.bundle import load_bundle
from modelwright.training.hook import Hook
from modelwright.workflows import train as train_module
from modelwright.workflows.grow import rate_after_growing
from modelwright.workflows.train import train


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A short run of a small CNN on the digits."""
    output = tmp_path_factory.mktemp("digits") / "run"
    settings = ["model.family=cnn", "model.channels=[4, 8]", "model.blocks=1", "training.budget=30 steps", "baselines=false"]
    train("digits", output=output, settings=[*settings, "training.precision=float32", "training.memory_format=contiguous"])
    return output


def test_a_grown_run_holds_everything_and_where_it_came_from(digits, command, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in digits.rglob("*")}
    code, out, err = command("grow", digits, "--width", "2", "--depth", "2", "--budget", "20 steps", "--output", tmp_path / "run", "--json")
    assert code == 0, err
    assert {path: path.stat().st_mtime_ns for path in digits.rglob("*")} == before
    answer = json.loads(out)
    growth = answer["growth"]
    assert growth["run"] == str(digits)
    assert (growth["width"], growth["depth"]) == (2, 2)
    assert growth["parameters"] > 3 * growth["parameters_before"]
    assert growth["equality"]["examples"] == 180
    assert growth["equality"]["difference"] < 1e-5
    assert growth["equality"]["agreement"] == 1
    run = Run.open(tmp_path / "run")
    assert json.loads(run.state.read_text())["details"]["growth"] == growth
    entries = run.ledger.entries()
    assert entries["difference at start"].measured == growth["equality"]["difference"]
    assert entries["parameters"].measured == entries["parameters"].forecast == growth["parameters"]
    assert entries["training time"].measured is not None
    recipe = yaml.safe_load(run.recipe.read_text())
    assert recipe["model"]["channels"] == [8, 16]
    assert recipe["model"]["blocks"] == 2
    parent = yaml.safe_load((digits / "recipe.yaml").read_text())
    assert recipe["training"]["optimizer"]["learning_rate"] == parent["training"]["optimizer"]["learning_rate"] / 4
    assert "same outputs on 180 examples" in " ".join(err.split())
    assert "grew" in err


def test_what_training_begins_with_gives_the_outputs_of_the_parent(digits, tmp_path):
    outcome = mw.grow(digits, width=2, depth=2, budget="5 steps", output=tmp_path / "run")
    parent, start, end = (load_bundle(path).network for path in (digits, outcome.run.start, outcome.run.path))
    images = {"image": torch.rand(16, 1, 8, 8)}
    with torch.inference_mode():
        torch.testing.assert_close(start(images), parent(images), atol=1e-5, rtol=1e-4)
        assert (end(images) - start(images)).abs().max() > 1e-3


def test_a_budget_of_0_grows_only(digits, command, tmp_path):
    code, out, _ = command("grow", digits, "--width", "2", "--budget", "0", "--output", tmp_path / "run", "--json")
    assert code == 0
    answer, parent = json.loads(out), json.loads((digits / "evaluation.json").read_text())
    assert answer["steps"] == 0
    for split, estimates in parent["splits"].items():
        assert answer["evaluation"]["splits"][split]["accuracy"] == estimates["accuracy"]
    assert not (tmp_path / "run" / "start").exists()
    assert (tmp_path / "run" / "errors.json").is_file()
    assert command("train", "--resume", tmp_path / "run")[0] == 0
    again = mw.grow(tmp_path / "run", depth=2, budget=0, output=tmp_path / "again")
    rates = [yaml.safe_load((path / "recipe.yaml").read_text())["training"]["optimizer"] for path in (digits, again.run.path)]
    assert rates[0] == rates[1]
    assert again.evaluation.score == mw.evaluate(tmp_path / "run").evaluation.score
    assert yaml.safe_load(again.run.recipe.read_text())["name"] == yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["name"]


RATE = ["training.optimizer.learning_rate=0.002"]


def test_a_run_on_a_table_grows_in_width_by_any_factor(run, tmp_path):
    outcome = mw.grow(
        run, width=1.25, budget="10 steps", output=tmp_path / "run", settings=["training.batch_size=32", "model.dropout=0", *RATE]
    )
    recipe = yaml.safe_load(outcome.run.recipe.read_text())
    assert (recipe["model"]["width"], recipe["model"]["dropout"], recipe["training"]["batch_size"]) == (320, 0, 32)
    assert recipe["training"]["optimizer"]["learning_rate"] == 0.002


def _rate(path):
    return yaml.safe_load((path / "recipe.yaml").read_text())["training"]["optimizer"]["learning_rate"]


def test_the_learning_rate_after_growing_goes_with_the_length_of_the_training(run, tmp_path):
    """The run itself took 60 steps, some of them of fewer examples, as epochs end."""
    grown = mw.grow(run, width=1.25, budget="12 steps", output=tmp_path / "run").run.path
    assert _rate(grown) == pytest.approx(0.2 * _rate(run), rel=0.1)
    again = mw.grow(grown, width=1.25, budget="20 steps", output=tmp_path / "again").run.path
    assert _rate(again) == _rate(grown)


def test_the_learning_rate_after_growing_has_bounds():
    assert rate_after_growing(depth=1, share=0.2) == rate_after_growing(depth=2, share=0.2) == 0.2
    assert [rate_after_growing(depth=depth, share=3) for depth in (1, 2)] == [0.5, 0.25]
    assert rate_after_growing(depth=2, share=3, again=True) == 1
    assert rate_after_growing(depth=2, share=-1) == 0.01


def test_a_language_model_grows_and_writes(command, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 300)
    settings = ["model.family=transformer", "model.width=16", "model.depth=1", "data.context=16", "training.budget=20 steps"]
    train(str(text), output=tmp_path / "small", settings=[*settings, "baselines=false", "training.precision=float32"])
    code, out, err = command(
        "grow", tmp_path / "small", "--width", "2", "--depth", "2", "--budget", "20 steps", "--output", tmp_path / "run", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["growth"]["equality"]["agreement"] == 1
    assert command("generate", tmp_path / "run", "--prompt", "the ", "--max-tokens", "5")[0] == 0


def test_a_language_model_whose_settings_transfer_grows(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 300)
    settings = ["model.family=lstm", "model.width=16", "model.depth=1", "data.context=16", "training.budget=5 steps", "baselines=false"]
    train(str(text), output=tmp_path / "small", settings=[*settings, "transfer.base={width: 16}", "training.precision=float32"])
    outcome = mw.grow(tmp_path / "small", width=2, budget="5 steps", output=tmp_path / "run")
    assert outcome.details["growth"]["equality"]["agreement"] == 1
    recipe = yaml.safe_load(outcome.run.recipe.read_text())
    assert (recipe["head"]["scale"], recipe["transfer"]["base"]["width"]) == (1.0, 16)


class _Interrupt(Hook):
    def on_step(self, info):
        if info.step == 8:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_growth_goes_on_to_the_same_bits(digits, command, tmp_path, monkeypatch):
    arguments = ("grow", digits, "--width", "2", "--budget", "16 steps", "--output")
    assert command(*arguments, tmp_path / "whole")[0] == 0
    hooks = train_module._hooks
    monkeypatch.setattr(train_module, "_hooks", lambda *arguments: [*hooks(*arguments), _Interrupt()])
    code, _, err = command(*arguments, tmp_path / "part")
    assert code == 130
    assert "train --resume" in " ".join(err.split())
    monkeypatch.setattr(train_module, "_hooks", hooks)
    assert command("train", "--resume", tmp_path / "part")[0] == 0
    whole, part = (load_bundle(tmp_path / name).network.state_dict() for name in ("whole", "part"))
    assert all(torch.equal(whole[name], part[name]) for name in whole)


def test_a_growth_stopped_before_its_first_checkpoint_begins_with_the_grown_weights(digits, command, tmp_path, monkeypatch):
    def stop(*arguments, **more):
        raise KeyboardInterrupt

    fit = train_module._fit
    arguments = ("grow", digits, "--width", "2", "--budget", "16 steps", "--output")
    monkeypatch.setattr(train_module, "_fit", stop)
    assert command(*arguments, tmp_path / "part")[0] == 130
    monkeypatch.setattr(train_module, "_fit", fit)
    assert command("train", "--resume", tmp_path / "part")[0] == 0
    assert command(*arguments, tmp_path / "whole")[0] == 0
    whole, part = (load_bundle(tmp_path / name).network.state_dict() for name in ("whole", "part"))
    assert all(torch.equal(whole[name], part[name]) for name in whole)


WRONG = {
    "nothing to grow": ([], "nothing is to grow"),
    "a network that shrinks": (["--width", "0.5"], "the width factor is 0.5; expected at least 1"),
    "no depth": (["--depth", "0"], "the depth factor is 0"),
    "no number": (["--width", "wide"], "--width"),
    "a factor that rounds to nothing": (["--width", "2", "--depth", "1.1"], "1.1 times the depth rounds to what it is"),
    "a setting of the shape": (["--width", "2", "--set", "model.width=17"], "the settings change the shape of the network"),
    "a setting of the function": (["--width", "2", "--set", "model.activation=tanh"], "would give other outputs"),
    "another split": (["--width", "2", "--set", "seed=5"], "not those that the run was trained on"),
    "an unknown setting": (["--width", "2", "--set", "training.learning_rat=1"], "unknown key"),
    "a wrong budget": (["--width", "2", "--budget", "soon"], "can't read the budget"),
    "a run folder that exists": (["--width", "2", "--output", "{taken}"], "exists and is not empty"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_sentence_and_leaves_nothing(command, run, tmp_path, case):
    arguments, expected = WRONG[case]
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").write_text("mine")
    given = [argument.replace("{taken}", str(taken)) for argument in arguments]
    code, out, err = command("grow", run, *given, *([] if "--output" in given else ["--output", tmp_path / "run"]))
    assert code == 2
    assert expected in " ".join(err.split())
    assert "Traceback" not in err + out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]
    assert [path.name for path in taken.iterdir()] == ["file"]


def test_what_is_no_finished_run_is_refused(command, table, tmp_path, monkeypatch):
    code, _, err = command("grow", tmp_path / "none", "--width", "2")
    assert (code, "does not exist" in err) == (2, True)
    hooks = train_module._hooks
    monkeypatch.setattr(train_module, "_hooks", lambda *arguments: [*hooks(*arguments), _Interrupt()])
    assert command("train", table, "--family", "mlp", "--budget", "50 steps", "--output", tmp_path / "run")[0] == 130
    monkeypatch.setattr(train_module, "_hooks", hooks)
    code, _, err = command("grow", tmp_path / "run", "--width", "2", "--output", tmp_path / "grown")
    assert code == 2
    assert "the run is not finished" in err
    assert not (tmp_path / "grown").exists()


def test_a_family_without_growth_is_refused(command, table, tmp_path):
    train(str(table), output=tmp_path / "run", settings=["model=linear", "training.budget=5 steps", "baselines=false"])
    code, _, err = command("grow", tmp_path / "run", "--width", "2", "--output", tmp_path / "grown")
    assert code == 2
    assert "the family linear can't be grown" in err
    assert not (tmp_path / "grown").exists()


def test_a_grower_that_errs_is_found_out(command, run, tmp_path, monkeypatch):
    widen = MLPGrower.widen

    def wrong(self, new, old, incoming, share):
        outgoing = widen(self, new, old, incoming, share)
        new.layers[0].bias.add_(0.1)
        return outgoing

    monkeypatch.setattr(MLPGrower, "widen", wrong)
    code, _, err = command("grow", run, "--width", "2", "--output", tmp_path / "grown")
    assert code == 2
    assert "would give other outputs" in err
    assert not (tmp_path / "grown").exists()

"""`build`: the whole main job on small data, and its budget."""

import json
import os
import signal
import time
from types import SimpleNamespace

import pytest

from modelwright.core.errors import InputError, RunInterrupted
from modelwright.core.run import Run
from modelwright.workflows import build as build_module
from modelwright.workflows.build import build
from modelwright.workflows.candidates import batch_size, fast_enough
from modelwright.workflows.halving_rungs import Rungs
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.select import select
from modelwright.workflows.train import train


def test_from_data_to_a_proven_model(table, tmp_path):
    began = time.monotonic()
    outcome = build(str(table), budget="24s", families=["mlp", "transformer"], output=tmp_path / "run")
    assert outcome.details["winner"].split()[0] in ("mlp", "transformer")
    assert {trial["family"] for trial in outcome.details["comparison"]} == {"mlp", "transformer"}
    entry = Run.open(tmp_path / "run").ledger.entries()["test accuracy"]
    assert entry.low <= entry.forecast <= entry.high
    assert entry.measured == outcome.evaluation.score.value
    assert outcome.evaluation.score.value > 0.7
    assert set(outcome.evaluation.baselines) == {"majority", "linear", "gradient_boosting"}
    # Not a timed test: a budget is a contract, so it is held, with room for a busy machine.
    assert time.monotonic() - began < 60


def test_an_interrupted_comparison_goes_on(table, tmp_path, monkeypatch):
    saved = Rungs.__call__

    def interrupting(self, trial, rung, seconds):
        result = saved(self, trial, rung, seconds)
        if trial.number == 1:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        return result

    monkeypatch.setattr(Rungs, "__call__", interrupting)
    with pytest.raises(RunInterrupted, match="build --resume"):
        build(str(table), budget="24s", families=["mlp", "linear"], output=tmp_path / "run")
    monkeypatch.setattr(Rungs, "__call__", saved)
    assert (tmp_path / "run" / "trials.journal").is_file()
    with pytest.raises(InputError, match="was made by build"):
        select(resume=tmp_path / "run")
    with pytest.raises(InputError, match=r"before training began\. Go on with: modelwright build --resume"):
        train(resume=tmp_path / "run")
    outcome = build(resume=tmp_path / "run")
    assert {trial["label"] for trial in outcome.details["comparison"]} >= {"mlp", "linear"}
    assert sum(trial["label"] == "mlp" for trial in outcome.details["comparison"]) == 1
    assert (tmp_path / "run" / "model" / "bundle.json").is_file()


def test_a_build_stopped_after_its_comparison_compares_nothing_again(table, tmp_path, monkeypatch):
    errors = iter([InputError("the disk is full"), KeyboardInterrupt()])

    def stop(*arguments):
        raise next(errors)

    monkeypatch.setattr(build_module, "train_winner", stop)
    monkeypatch.setattr(build_module, "COMPARISON_SHARE", 0.04)
    with pytest.raises(InputError, match="the disk is full"):
        build(str(table), budget="60s", families=["linear"], output=tmp_path / "run")
    compared = json.loads((tmp_path / "run" / "comparison.json").read_text())["trials"]
    assert compared
    with pytest.raises(RunInterrupted, match="build --resume"):
        build(resume=tmp_path / "run")
    assert json.loads((tmp_path / "run" / "comparison.json").read_text())["trials"] == compared
    (tmp_path / "run" / "trials.journal").unlink()
    with pytest.raises(InputError, match="no longer in its storage"):
        build(resume=tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"budget": "3 epochs"}, "can't spend"),
        ({"budget": "0.1s"}, "too small"),
        ({"families": ["cnn"]}, "doesn't fit a table"),
        ({"families": ["cnnn"]}, "Did you mean cnn"),
        ({"settings": ["data.validation=0"]}, "validation"),
        ({"settings": ["training.batchsize=3"]}, "unknown key"),
        ({"settings": ["training.budget=1000 steps"]}, "can't spend"),
        ({"settings": ["training=fast"]}, "can't read the setting training='fast'"),
        ({"settings": ["data=null"]}, "can't read the setting data=None"),
        ({"settings": ["training={batch_size: 32, budget: 0.1s}"]}, "too small"),
        ({"settings": ["data={test: 0.2}"], "budget": "0.1s"}, "too small"),
        ({"settings": ["model=3"]}, "unknown family '3'"),
    ],
)
def test_wrong_input_leaves_nothing(table, tmp_path, arguments, expected):
    with pytest.raises(InputError, match=expected):
        build(str(table), output=tmp_path / "run", **{"budget": "20s", **arguments})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("examples", "expected"), [(10, 16), (1437, 64), (60_000, 128)])
def test_batch_size_suits_the_data(examples, expected):
    assert batch_size(examples) == expected


def test_language_models_that_compute_too_slowly_are_left_out(tmp_path):
    speeds = {"lstm": 40.0, "gru": 4.0, "hybrid": 5.0}
    probed = {
        name: SimpleNamespace(samples_per_second=speed, job=SimpleNamespace(count=SimpleNamespace(training_flops=10**9)))
        for name, speed in speeds.items()
    }
    reporter = Reporter()
    reporter.attach(tmp_path / "log.txt")
    assert list(fast_enough(probed, reporter)) == ["lstm", "hybrid"]
    assert "gru: 4.0G FLOP a second here, where lstm does 40G" in (tmp_path / "log.txt").read_text()


def test_a_diverging_candidate_is_dropped(table, tmp_path):
    settings = ["training.clip_norm=null", "training.optimizer={name: sgd, learning_rate: 1e30}"]
    with pytest.raises(InputError, match="no family could be trained"):
        build(str(table), budget="15s", families=["mlp", "linear"], output=tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_numbers_are_forecast_and_proven_too(tmp_path):
    outcome = build("diabetes", budget="22s", families=["mlp"], output=tmp_path / "run")
    entry = Run.open(tmp_path / "run").ledger.entries()["test rmse"]
    assert entry.low < entry.forecast < entry.high
    assert entry.measured == outcome.evaluation.score.value
    assert entry.unit == "target"

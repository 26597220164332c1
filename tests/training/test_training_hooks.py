"""Hooks: the metrics log, the progress bar, TensorBoard."""

import builtins
import io
import json
import math

import pytest
from rich.console import Console

from modelwright.training.hook import StepInfo
from modelwright.training.hooks.metrics_log import MetricsLog
from modelwright.training.hooks.progress import ProgressBar, status
from modelwright.training.hooks.tensorboard import TensorBoard


def info(step, total=100, metrics=None, **changes):
    values = {
        "step": step, "total_steps": total, "epoch": step / 10, "progress": step / total, "samples": 8 * step, "seconds": step / 2,
        "loss": 1 / (step + 1), "learning_rate": 0.1, "grad_norm": 1.0, "metrics": metrics, "primary": "accuracy",
    }  # fmt: skip
    return StepInfo(**{**values, **changes})


def run(hook, steps, start=0):
    hook.on_start(info(start))
    for step in steps:
        hook.on_step(info(step))
        if step % 10 == 0:
            hook.on_evaluation(info(step, metrics={"accuracy": step / 100, "auc": math.nan}))
    hook.on_end(info(steps[-1]))


def rows(path):
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]


def test_log_has_rows_of_steps_and_evaluations(tmp_path):
    path = tmp_path / "deep" / "metrics.jsonl"
    run(MetricsLog(path, rows=20), range(1, 31))
    training = [row["step"] for row in rows(path) if "metrics" not in row]
    assert training == [5, 10, 15, 20, 25, 30]
    assert next(row["metrics"] for row in rows(path) if "metrics" in row) == {"accuracy": 0.1, "auc": None}
    assert rows(path)[0] == {
        "step": 5, "epoch": 0.5, "progress": 0.05, "seconds": 2.5, "samples": 40, "loss": 1 / 6, "learning_rate": 0.1, "grad_norm": 1.0,
    }  # fmt: skip


def test_log_of_a_resumed_run_equals_that_of_a_whole_one(tmp_path):
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    run(MetricsLog(whole), range(1, 41))
    run(MetricsLog(parts), range(1, 31))
    with parts.open("a") as file:
        file.write('{"step": 31, "lo')
    run(MetricsLog(parts), range(21, 41), start=20)
    assert rows(parts) == rows(whole)


def test_log_of_a_new_run_starts_empty(tmp_path):
    path = tmp_path / "metrics.jsonl"
    run(MetricsLog(path), range(1, 5))
    run(MetricsLog(path), range(1, 3))
    assert rows(path)[-1]["step"] == 2


def test_log_writes_no_nan(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl")
    log.on_start(info(0))
    log.on_step(info(50, loss=math.inf))
    log.on_end(info(50))
    assert rows(tmp_path / "m.jsonl")[0]["loss"] is None


def test_bar_shows_loss_metric_and_time_left():
    stream = io.StringIO()
    bar = ProgressBar("train", Console(file=stream, force_terminal=True, width=100), percent=True)
    run(bar, range(1, 31))
    assert "accuracy 30.00%" in stream.getvalue()
    assert "left" in stream.getvalue()


def test_bar_is_quiet_without_a_terminal():
    stream = io.StringIO()
    run(ProgressBar("train", Console(file=stream, force_terminal=False)), range(1, 31))
    assert stream.getvalue() == ""


def test_time_left():
    assert status(info(25)) == "loss 0.0385 · 38 s left"
    assert status(info(100)) == "loss 0.0099 · 50 s"
    assert status(info(0)) == "starting"


def test_tensorboard_files_can_be_read(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(TensorBoard(tmp_path), range(1, 31))
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert {"train/loss", "train/learning_rate", "validation/accuracy"} <= set(events.Tags()["scalars"])
    assert "validation/auc" not in events.Tags()["scalars"]
    points = events.Scalars("validation/accuracy")
    assert [point.step for point in points] == [10, 20, 30]
    assert points[-1].value == pytest.approx(0.3)


def test_tensorboard_shows_what_loss_a_run_is_heading_for(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(TensorBoard(tmp_path, schedule=lambda progress: 1 - progress), range(1, 101))
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    low, value, high = (events.Scalars(f"forecast/final_loss{end}") for end in ("_low", "", "_high"))
    assert 5 < len(value) <= 50
    assert all(a.value <= b.value <= c.value for a, b, c in zip(low, value, high, strict=True))


def test_tensorboard_resumed_has_no_point_twice(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(TensorBoard(tmp_path), range(1, 31))
    run(TensorBoard(tmp_path), range(21, 41), start=20)
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [point.step for point in events.Scalars("validation/accuracy")] == [10, 20, 30, 40]


def test_without_tensorboard_one_line_says_so(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name.startswith("tensorboard"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    said = []
    run(TensorBoard(tmp_path / "tb", notice=said.append), range(1, 31))
    assert len(said) == 1
    assert "pip install" in said[0]
    assert not (tmp_path / "tb").exists()

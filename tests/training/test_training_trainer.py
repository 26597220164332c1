"""The trainer: resuming to the same bits, stopping, restoring, interrupting, and the size of the loop."""

import ast
import copy
import inspect
import json
import os
import signal
from pathlib import Path

import pytest
import torch

from modelwright.core.errors import InputError, RunInterrupted
from modelwright.training import checkpoint, trainer
from modelwright.training.hook import Hook
from modelwright.training.trainer import Trainer


def weights_of(rule):
    return {name: tensor.clone() for name, tensor in rule.network.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Interrupt(Hook):
    """Presses Ctrl-C after a step."""

    def __init__(self, step):
        self.step = step

    def on_step(self, info):
        if info.step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("ema", [None, 0.1], ids=["plain", "ema"])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw", "muon"])
def test_interrupted_and_resumed_is_the_same_to_the_bit(workshop, tmp_path, optimizer, ema):
    config = workshop.config(optimizer=optimizer, ema=ema, accumulation=2, evaluations=4)
    whole = workshop.rule(config)
    expected = workshop.trainer(config, whole).fit()

    half = workshop.trainer(config, hooks=[Interrupt(5)], checkpoints=tmp_path)
    with pytest.raises(RunInterrupted, match="Interrupted after step 5") as caught:
        half.fit()
    assert str(tmp_path) in str(caught.value)

    torch.manual_seed(99)
    rest = workshop.rule(config, network=type(whole.network)())
    result = workshop.trainer(config, rest, checkpoints=tmp_path).fit(resume=True)
    assert same(weights_of(whole), weights_of(rest))
    assert result.train_loss == expected.train_loss
    assert [(m.step, m.metrics) for m in result.history] == [(m.step, m.metrics) for m in expected.history]
    assert result.samples == expected.samples == sum(workshop.batches().batch(s).size for s in range(10))


def test_channels_last_resumes_to_the_same_bits(workshop, tmp_path):
    config = workshop.config(memory_format="channels_last", ema=0.1)
    whole = workshop.rule(config)
    workshop.trainer(config, whole).fit()
    with pytest.raises(RunInterrupted):
        workshop.trainer(config, hooks=[Interrupt(5)], checkpoints=tmp_path).fit()
    rest = workshop.rule(config)
    workshop.trainer(config, rest, checkpoints=tmp_path).fit(resume=True)
    assert same(weights_of(whole), weights_of(rest))


def test_in_two_goes_as_in_one(workshop):
    config = workshop.config(restore_best=False)
    whole, parts = workshop.rule(config), workshop.rule(config)
    workshop.trainer(config, whole).fit()
    trial = workshop.trainer(config, parts)
    first = trial.fit(until=0.3)
    assert (first.steps, first.stop_reason, first.history[-1].progress) == (3, "share", pytest.approx(0.3))
    second = trial.fit()
    assert (second.steps, second.stop_reason) == (10, "budget")
    assert same(weights_of(whole), weights_of(parts))


def test_resume_without_a_checkpoint_starts_anew(workshop, tmp_path):
    assert workshop.trainer(workshop.config(), checkpoints=tmp_path).fit(resume=True).steps == 10


def test_resume_of_a_finished_run_trains_no_further(workshop, tmp_path):
    config = workshop.config()
    first = workshop.rule(config)
    workshop.trainer(config, first, checkpoints=tmp_path).fit()
    again = workshop.rule(config)
    result = workshop.trainer(config, again, checkpoints=tmp_path).fit(resume=True)
    assert result.steps == 10
    assert same(weights_of(first), weights_of(again))


def test_resume_with_another_length_is_refused(workshop, tmp_path):
    workshop.trainer(workshop.config(), checkpoints=tmp_path).fit(until=0.5)
    with pytest.raises(InputError, match="run of 10 steps, but the recipe asks for 12"):
        workshop.trainer(workshop.config(budget="12 steps"), checkpoints=tmp_path).fit(resume=True)


def scripted(scores):
    """An evaluation that gives these scores one after the other, and remembers the weights it saw."""
    seen, left = [], iter(scores)

    def evaluate(network):
        assert not network.training
        seen.append(copy.deepcopy(network.state_dict()))
        return {"accuracy": next(left)}

    return evaluate, seen


def test_early_stopping_restores_the_best(workshop):
    evaluate, seen = scripted([0.1, 0.5, 0.4, 0.5, 0.9, 1.0])
    config = workshop.config(budget="20 steps", evaluations=10, early_stopping=2)
    rule = workshop.rule(config)
    never = {"clearly_better": lambda network, rival: False}
    result = workshop.trainer(config, rule, evaluate=evaluate, primary="accuracy", higher_is_better=True, **never).fit()
    assert result.stop_reason == "early stopping"
    assert result.best is not None
    assert (result.best.step, result.best.metrics, result.steps) == (4, {"accuracy": 0.5}, 8)
    assert same(weights_of(rule), seen[1])


@pytest.mark.parametrize("better", [True, False])
def test_without_early_stopping_the_best_must_beat_the_last_clearly(workshop, better):
    evaluate, seen = scripted([0.1, 0.4, 0.5, 0.3])
    config = workshop.config(budget="20 steps", evaluations=4)
    rule = workshop.rule(config)
    options = {"primary": "accuracy", "higher_is_better": True, "clearly_better": lambda network, rival: better}
    workshop.trainer(config, rule, evaluate=evaluate, **options).fit()
    assert same(weights_of(rule), seen[2 if better else 3])


@pytest.mark.parametrize("restore", [True, False])
def test_the_best_weights_are_restored_if_asked(workshop, restore):
    evaluate, seen = scripted([0.1, float("nan"), 0.05, 0.3])
    config = workshop.config(budget="20 steps", evaluations=4, restore_best=restore)
    rule = workshop.rule(config)
    trained = workshop.trainer(config, rule, evaluate=evaluate, primary="accuracy", higher_is_better=False)
    assert trained.fit().best.step == 15
    assert same(weights_of(rule), seen[2 if restore else 3])


def test_a_run_without_evaluations(workshop):
    result = workshop.trainer(workshop.config(), evaluate=None, primary=None).fit()
    assert (result.best, result.history, result.stop_reason) == (None, (), "budget")


def test_training_learns(workshop):
    result = workshop.trainer(workshop.config(budget="30 epochs", optimizer={"name": "adamw", "learning_rate": 0.01})).fit()
    assert result.steps == 180
    assert result.best.metrics["accuracy"] > 0.7
    assert result.train_loss < 0.9


class Slow:
    """A step rule whose steps take time on a fake clock."""

    def __init__(self, rule, clock, seconds):
        self.rule, self.clock, self.seconds = rule, clock, seconds

    def __getattr__(self, name):
        return getattr(self.rule, name)

    def step(self, *arguments):
        self.clock.now += self.seconds
        return self.rule.step(*arguments)


def test_a_budget_of_seconds_ends_before_its_deadline_with_the_schedule_at_its_end(workshop, clock):
    config = workshop.config(budget="20s")
    rule = Slow(workshop.rule(config), clock, 0.1)

    def evaluate(network):
        clock.now += 0.5
        return workshop.evaluate(network)

    deadline = clock.now + 18
    result = workshop.trainer(config, rule, evaluate=evaluate, clock=clock, deadline=deadline).fit()
    assert clock.now <= deadline
    assert result.seconds >= 0.9 * 18
    assert result.history[-1].progress == pytest.approx(1)
    assert 2 <= len(result.history) <= 4
    assert result.samples_per_second == pytest.approx(result.samples / result.steps / 0.1)


def test_a_resumed_run_of_seconds_has_the_rest_of_its_budget(workshop, clock, tmp_path):
    config = workshop.config(budget="20s", evaluations=2)
    with pytest.raises(RunInterrupted):
        workshop.trainer(config, Slow(workshop.rule(config), clock, 0.1), clock=clock, checkpoints=tmp_path, hooks=[Interrupt(100)]).fit()
    clock.now += 500
    began = clock.now
    result = workshop.trainer(config, Slow(workshop.rule(config), clock, 0.1), clock=clock, checkpoints=tmp_path).fit(resume=True)
    assert 8 <= clock.now - began <= 10
    assert 18 <= result.seconds <= 20
    assert result.history[-1].progress == pytest.approx(1)


def test_max_seconds_stops_a_trial(workshop, clock):
    config = workshop.config(budget="1000 steps")
    result = workshop.trainer(config, Slow(workshop.rule(config), clock, 0.1), clock=clock).fit(max_seconds=2.05)
    assert (result.stop_reason, result.steps) == ("seconds", 21)


def test_checkpoints_are_written_by_time_and_two_are_kept(workshop, clock, tmp_path):
    config = workshop.config(budget="20 steps", checkpoint_interval=0.5)
    workshop.trainer(config, Slow(workshop.rule(config), clock, 0.1), clock=clock, checkpoints=tmp_path).fit()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000015", "step-00000020"]


def test_the_second_interrupt_ends_at_once(workshop):
    class Twice(Hook):
        ended = False

        def on_step(self, info):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

        def on_end(self, info):
            self.ended = True

    hook = Twice()
    with pytest.raises(KeyboardInterrupt):
        workshop.trainer(workshop.config(), hooks=[hook]).fit()
    assert hook.ended
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_hooks_see_every_step_and_evaluation(workshop):
    class Listener(Hook):
        def __init__(self):
            self.calls = []

        def on_start(self, info):
            self.calls.append(("start", info.step))

        def on_step(self, info):
            self.calls.append(("step", info.step))
            self.last = info

        def on_evaluation(self, info):
            self.calls.append(("evaluation", info.step))
            assert info.primary in info.metrics

        def on_end(self, info):
            self.calls.append(("end", info.step))

    listener = Listener()
    workshop.trainer(workshop.config(budget="4 steps", evaluations=2), hooks=[listener]).fit()
    kinds = [("start", 0), ("step", 1), ("step", 2), ("evaluation", 2), ("step", 3), ("step", 4), ("evaluation", 4), ("end", 4)]
    assert listener.calls == kinds
    info = listener.last
    assert (info.total_steps, info.progress, info.samples, info.epoch) == (4, 1.0, 32, pytest.approx(4 / 6))
    with pytest.raises(AttributeError):
        info.step = 7


def test_each_step_gets_its_span_of_the_run(workshop):
    config = workshop.config(budget="4 steps", schedule={"name": "linear", "warmup": 0.0}, optimizer={"name": "sgd", "learning_rate": 1.0})
    spans = []
    rule = workshop.rule(config)
    step = rule.step
    rule.step = lambda batch, number, start, end: spans.append((number, start, end)) or step(batch, number, start, end)
    rates = Rates()
    workshop.trainer(config, rule, hooks=[rates]).fit()
    assert spans == [(0, 0.0, 0.25), (1, 0.25, 0.5), (2, 0.5, 0.75), (3, 0.75, 1.0)]
    assert rates.seen == pytest.approx([0.875, 0.625, 0.375, 0.125])


class Rates(Hook):
    """Remembers the learning rates."""

    def __init__(self):
        self.seen = []

    def on_step(self, info):
        self.seen.append(info.learning_rate)


def test_resume_passes_over_a_damaged_checkpoint(workshop, tmp_path):
    config = workshop.config(budget="6 steps")
    trial = workshop.trainer(config, checkpoints=tmp_path)
    trial.fit(until=0.5)
    trial.fit()
    newest = max(tmp_path.iterdir())
    (newest / "tensors.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged"):
        found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 3
    whole, rest = workshop.rule(config), workshop.rule(config)
    workshop.trainer(config, whole).fit()
    with pytest.warns(UserWarning, match="damaged"):
        workshop.trainer(config, rest, checkpoints=tmp_path).fit(resume=True)
    assert same(weights_of(whole), weights_of(rest))


def test_the_loop_and_its_file_keep_their_budgets():
    loop = inspect.getsource(Trainer._loop).splitlines()
    assert len(loop) < 60
    assert len(Path(trainer.__file__).read_text().splitlines()) < 300
    room = sorted(Path(trainer.__file__).parent.rglob("*.py"))
    assert len(room) >= 25
    for file in room:
        text = file.read_text()
        assert len(text.splitlines()) < 300, file
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{file} {node.name}"


def test_there_is_one_loop_over_steps():
    room = Path(trainer.__file__).parent
    assert sum(file.read_text().count(".rule.step(") + file.read_text().count("._rule.step(") for file in room.rglob("*.py")) == 1


def test_metrics_of_a_run_are_json(workshop):
    result = workshop.trainer(workshop.config()).fit()
    json.dumps([m.metrics for m in result.history], allow_nan=False)


def test_equal_scores_are_decided_by_the_tie_breaker(workshop):
    scores = iter([(0.9, 0.5), (0.9, 0.3), (0.9, 0.4), (0.8, 0.1)])

    def evaluate(network):
        accuracy, loss = next(scores)
        return {"accuracy": accuracy, "log_loss": loss}

    config = workshop.config(budget="20 steps", evaluations=4)
    options = {"evaluate": evaluate, "primary": "accuracy", "higher_is_better": True, "tie_breaker": "log_loss"}
    assert workshop.trainer(config, **options).fit().best.step == 10

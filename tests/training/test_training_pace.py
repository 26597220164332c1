"""The pace: budgets as contracts, under a clock that is noisy and machines that change their speed."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import InputError
from modelwright.core.units import Budget
from modelwright.training.pace import Evaluations, FixedPace, TimedPace
from modelwright.training.steps import plan_steps

DATA = {"samples_per_epoch": 1000, "steps_per_epoch": 10}


@pytest.mark.parametrize(
    ("budget", "steps"),
    [
        ("3 epochs", 30),
        ("0.5 epochs", 5),
        ("7 steps", 7),
        ("1000 samples", 10),
        ("1099 samples", 10),
        ("1 samples", 1),
        ("1e6 flops", 50),
        ("4000 tokens", 20),
        ("90s", None),
    ],
)
def test_budget_to_steps(budget, steps):
    assert plan_steps(Budget.parse(budget), **DATA, flops_per_sample=200, tokens_per_sample=2) == steps


@pytest.mark.parametrize("budget", ["1e9 flops", "10k tokens"])
def test_a_budget_that_cannot_be_counted_is_refused(budget):
    with pytest.raises(InputError, match=r"unknown\. Give the budget in"):
        plan_steps(Budget.parse(budget), **DATA)


def test_fixed_progress_is_exact():
    pace = FixedPace(7)
    assert [pace.progress(step) for step in (0, 3, 7)] == [0, 3 / 7, 1]
    assert [pace.finished(step) for step in (6, 7, 8)] == [False, True, True]


def evaluated_steps(pace, total):
    last, due = 0.0, []
    for step in range(1, total + 1):
        if pace.evaluation_due(step, last):
            last = pace.progress(step)
            due.append(step)
    return due


def test_evaluations_are_spread_and_the_last_is_left_to_the_end():
    assert evaluated_steps(FixedPace(100, Evaluations(number=5)), 100) == [20, 40, 60, 80]
    assert evaluated_steps(FixedPace(100, Evaluations(number=1)), 100) == []
    assert evaluated_steps(FixedPace(100), 100) == []


def test_dear_evaluations_are_fewer():
    # Each costs 5 of 100 steps; at most a tenth of the run is for them: one every 50 steps.
    assert evaluated_steps(FixedPace(100, Evaluations(number=20, share=0.1, steps=5)), 100) == [50]


def test_another_length_is_no_resume():
    with pytest.raises(InputError, match="run of 10 steps, but the recipe asks for 20"):
        FixedPace(20).load_state(FixedPace(10).state())


class FakeClock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Outcome:
    def __init__(self):
        self.steps, self.progresses, self.evaluations, self.evaluation_time = 0, [], 0, 0.0


def simulate(duration, step_seconds, *, evaluation=0.0, save=0.0, evaluations=None, pause_at=None):
    """A timed run on a fake machine; `step_seconds` is a function of elapsed share and step."""
    clock, outcome = FakeClock(), Outcome()
    start, deadline = clock.now, clock.now + duration
    interval = duration / 5
    pace = TimedPace(deadline, clock, evaluations=evaluations, save_interval=interval if save else float("inf"))
    pace.begin(0)
    step, last, saved = 0, 0.0, clock.now
    while not pace.finished(step):
        assert pace.progress(step + 1) > pace.progress(step)
        outcome.progresses.append(pace.progress(step))
        clock.now += step_seconds((clock.now - start) / duration, step)
        step += 1
        pace.stepped(step)
        if pace.evaluation_due(step, last):
            last = pace.progress(step)
            clock.now += evaluation
            pace.evaluated()
            outcome.evaluations += 1
            outcome.evaluation_time += evaluation
        if save and clock.now - saved > interval:
            clock.now += save
            pace.saved()
            saved = clock.now
        if pause_at is not None and step == pause_at:
            state, spent = pace.state(), clock.now - start
            clock.now += 3600
            deadline = clock.now + duration - spent
            start = clock.now - spent
            before = pace.progress(step)
            pace = TimedPace(deadline, clock, evaluations=evaluations, spent=spent)
            pace.load_state(state)
            pace.begin(step)
            assert pace.progress(step) == pytest.approx(before)
    outcome.progresses.append(pace.progress(step))
    if evaluations is not None:
        clock.now += evaluation
        outcome.evaluation_time += evaluation
    outcome.steps, outcome.used, outcome.late = step, (clock.now - start) / duration, clock.now - deadline
    return outcome


@settings(max_examples=150, deadline=None)
@given(
    steps=st.integers(60, 3000),
    noise=st.floats(0, 0.5),
    change=st.sampled_from([1 / 3, 0.5, 1.0, 2.0, 3.0]),
    when=st.floats(0.0, 0.95),
    first=st.sampled_from([1.0, 10.0]),
    evaluation=st.sampled_from([0.0, 0.5, 4.0]),
    seed=st.integers(0, 999),
)
def test_a_deadline_is_kept_and_used(steps, noise, change, when, first, evaluation, seed):
    draws, base = random.Random(seed), 60 / steps

    def step_seconds(elapsed, step):
        return base * (change if elapsed > when else 1) * (first if step == 0 else 1) * draws.uniform(1 - noise, 1 + noise)

    outcome = simulate(60, step_seconds, evaluation=evaluation * base, evaluations=Evaluations())
    # No plan foresees that the last step is several times as long as all before; that much, less the margin, is beyond promise.
    unforeseeable = base * (max(change, 1) * (1 + noise) - 1) - 0.3
    assert outcome.late <= max(0, unforeseeable)
    # Where steps are long, a tenth is less than one of them and the margin.
    coarse = 1 - 2.5 * base * max(change, 1) * (1 + noise) / 60
    assert outcome.used >= min(0.9, coarse)
    assert outcome.progresses[-1] >= min(0.95, coarse)
    assert all(a <= b for a, b in zip(outcome.progresses, outcome.progresses[1:], strict=False))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), spike=st.floats(2, 30))
def test_rare_long_steps_are_survived(seed, spike):
    draws = random.Random(seed)
    outcome = simulate(60, lambda elapsed, step: 0.05 * (spike if draws.random() < 0.01 and elapsed < 0.9 else 1))
    assert outcome.late <= 0
    assert outcome.used >= 0.9
    assert outcome.progresses[-1] >= 0.95


@pytest.mark.parametrize("evaluation", [0.01, 0.5, 2.0])
def test_evaluations_keep_to_their_share(evaluation):
    outcome = simulate(60, lambda elapsed, step: 0.05, evaluation=evaluation, evaluations=Evaluations(number=20, share=0.08))
    # The first one's cost is unknown beforehand, and the last one is owed in any case.
    assert outcome.evaluation_time <= 0.08 * 60 + 2 * evaluation
    assert outcome.late <= 0
    if evaluation == 0.01:
        assert outcome.evaluations in (18, 19)


@pytest.mark.parametrize("evaluation", [3.0, 8.0])
def test_a_dear_evaluation_is_planned_for_before_the_first(evaluation):
    # 0.5 s a step: an evaluation is said to cost 20 steps, or 10 s.
    outcome = simulate(60, lambda elapsed, step: 0.5, evaluation=evaluation, evaluations=Evaluations(number=1, steps=20))
    assert outcome.late <= 0
    assert outcome.progresses[-1] > 0.95


def test_a_step_that_leaves_no_time_to_evaluate_is_not_begun():
    clock = FakeClock()
    pace = TimedPace(clock.now + 100, clock, evaluations=Evaluations())
    pace.begin(0)
    for step in range(1, 11):
        clock.now += 1
        pace.stepped(step)
    clock.now += 5
    pace.evaluated()
    assert not pace.finished(10)
    clock.now = 1000.0 + 92
    assert not pace.finished(10)
    clock.now = 1000.0 + 94
    assert pace.finished(10)
    assert not pace.evaluation_due(10, 0.0)


def test_checkpoints_are_planned_for():
    outcome = simulate(60, lambda elapsed, step: 0.05, save=1.0)
    assert outcome.late <= 0
    assert outcome.used > 0.95
    assert outcome.progresses[-1] > 0.99


def test_a_steady_machine_goes_evenly():
    outcome = simulate(60, lambda elapsed, step: 0.1)
    middle = outcome.progresses[len(outcome.progresses) // 2]
    assert middle == pytest.approx(0.5, abs=0.02)
    assert outcome.progresses[-1] == pytest.approx(1, abs=1e-6)


def test_after_a_pause_the_rest_fits_the_rest():
    outcome = simulate(60, lambda elapsed, step: 0.1, pause_at=200)
    assert outcome.late <= 0
    assert outcome.used > 0.95
    assert outcome.progresses[-1] > 0.98


@pytest.mark.parametrize("steps", [1.5, 3, 10])
def test_a_tiny_budget_still_ends_in_time(steps):
    assert simulate(6, lambda elapsed, step: 6 / steps).late <= 0 or steps < 2


def test_passes_over_the_data_are_bounded_whatever_the_budget():
    assert [plan_steps(Budget.parse(budget), **DATA, most_steps=20) for budget in ("3 epochs", "7 steps")] == [20, 7]
    now = [0.0]
    pace = TimedPace(100.0, lambda: now[0], most_steps=5)
    pace.begin(0)
    step = 0
    while not pace.finished(step):
        step, now[0] = step + 1, now[0] + 0.1
        pace.stepped(step)
    assert (step, pace.progress(step)) == (5, 1.0)

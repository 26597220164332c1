"""Rounds cost what they may, and ties are broken by loss."""

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.planning.halving import plan_rounds, planned_trials, rank, survives


@dataclass
class Trial:
    name: str
    score: float
    loss: float
    standard_error: float = 0.01


@given(st.integers(1, 40), st.floats(1, 1e4))
def test_rounds_cost_what_there_is(candidates, seconds):
    rounds = plan_rounds(candidates, seconds)
    assert sum(r.entrants * r.seconds for r in rounds) == pytest.approx(seconds)
    assert rounds[0].entrants == candidates
    assert all(later.entrants < earlier.entrants and later.seconds > earlier.seconds for earlier, later in itertools.pairwise(rounds))
    assert rounds[-1].entrants <= 2


def test_a_clearly_better_score_wins_whatever_the_loss():
    assert rank([Trial("a", 0.9, 0.1), Trial("b", 0.95, 0.5)])[0].name == "b"


def test_a_tie_is_broken_by_loss():
    assert [t.name for t in rank([Trial("a", 0.950, 0.3), Trial("b", 0.945, 0.2), Trial("c", 0.8, 0.1)])] == ["b", "a", "c"]


def test_the_better_half_goes_on_and_two_always_do():
    seen = [Trial(str(n), 0.9 - 0.1 * n, 1.0) for n in range(6)]
    assert [survives(trial, seen) for trial in seen] == [True, True, True, False, False, False]
    assert [survives(trial, seen[:3]) for trial in seen[:3]] == [True, True, False]
    assert survives(seen[5], [seen[5]])


def test_trials_are_one_a_family_where_time_is_short():
    assert planned_trials(4, 21.6) == 4
    assert planned_trials(2, 100) == 7
    assert planned_trials(4, 1260) == 25

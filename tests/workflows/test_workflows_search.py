"""The search, on a clock and trainings of the tests' own: what is tried, what is stopped, what a kill leaves, what several processes share."""

import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from modelwright.core.config import validate
from modelwright.core.errors import InputError, RunInterrupted
from modelwright.data.dataset import load
from modelwright.workflows import judge as judge_module
from modelwright.workflows import study as study_module
from modelwright.workflows.halving_rungs import judged_examples
from modelwright.workflows.job import Job, probe
from modelwright.workflows.recipe import Recipe, chosen_recipe
from modelwright.workflows.search import Search, SearchPlan, begin, best_trial
from modelwright.workflows.space import Space
from modelwright.workflows.study import Study, TrialResult

OPTIMIZER = {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 0.05}


def spaces(*families):
    values = {"data": {"path": "x"}, "training": {"optimizer": OPTIMIZER}}
    return {name: Space.of(validate(Recipe, {**values, "model": name}), {}) for name in families}


def study_in(storage, owner="me", name="study"):
    study = Study.create(storage, name, {"of": "a test"}, owner=owner, maximize=True, seed=0)
    return study or Study.join(storage, name, owner=owner, seed=0)


class Laboratory:
    """Trainings whose score is known beforehand, on a clock that they move.

    Args:
        skill: from a trial and seconds to its score.
        overhead: seconds of each rung beside its training.
    """

    def __init__(self, skill, overhead=0.0):
        self.skill, self.overhead, self.now, self.done = skill, overhead, 0.0, []

    def clock(self):
        return self.now

    def __call__(self, trial, rung, seconds):
        self.now += seconds + self.overhead
        self.done.append((trial.label, rung, seconds))
        score = self.skill(trial, seconds)
        if score is None:
            return None
        return result(rung, seconds, score)


def result(rung, seconds, score, **more):
    about = {"steps": 100, "samples_per_second": 1.0, "flops": 1.0, "low": score, "high": score, "standard_error": 0.001}
    about |= {"parameters": 10, "size": 40, "latency": 1e-3, "loss": 1 - score, "value": score, "score": score}
    return TrialResult(rung=rung, seconds=seconds, **{**about, **more})


def search(study, laboratory, plan, families, seconds, **more):
    return Search(
        study, spaces(*families), plan, laboratory, laboratory.now + seconds, higher_is_better=True, clock=laboratory.clock, **more
    )


SKILL = {"mlp": 0.8, "cnn": 0.9, "lstm": 0.7, "transformer": 0.6}


def by_family(trial, seconds):
    return SKILL[trial.family] + 0.001 * seconds + (0.05 if "x2" in trial.label else 0.0)


@pytest.fixture
def journal(tmp_path):
    return f"journal:{tmp_path / 'study.journal'}"


def test_a_short_search_is_one_trial_a_family_and_the_best_one_larger(journal):
    plan = SearchPlan.of(4, 27)
    assert not plan.proposals
    assert plan.rungs == pytest.approx((2.7, 5.4))
    laboratory, study = Laboratory(by_family), study_in(journal)
    run = search(study, laboratory, plan, SKILL, 27)
    begin(study, spaces(*SKILL))
    best = run.run()
    assert [(label, rung) for label, rung, _ in laboratory.done] == [
        ("mlp", 0), ("cnn", 0), ("lstm", 0), ("transformer", 0), ("cnn", 1), ("mlp", 1), ("cnn x2", 1),
    ]  # fmt: skip
    assert best.label == "cnn x2"
    assert best.settings["width"] == 2.0
    assert laboratory.now <= 27 + 1e-9
    states = {trial.label: trial.state for trial in study.trials()}
    assert states == {"mlp": "finished", "cnn": "finished", "lstm": "stopped", "transformer": "stopped", "cnn x2": "finished"}


def test_where_steps_are_slow_there_are_fewer_trials_rather_than_shorter_ones():
    assert len(SearchPlan.of(2, 400).rungs) == 4
    patient = SearchPlan.of(2, 400, shortest=30)
    assert patient.rungs[0] >= 30
    assert patient.proposals
    assert SearchPlan.of(2, 400, shortest=1000).rungs == pytest.approx((0.85 * 160,))
    assert not SearchPlan.of(2, 400, shortest=1000).proposals


def test_rather_than_shorter_rungs_there_is_one_and_no_longer_than_it_need_be():
    assert SearchPlan.of(3, 18, wide=False).rungs == pytest.approx((3, 4.5))
    assert SearchPlan.of(3, 18, wide=False, shortest=4, longest=4).rungs == (4,)
    assert SearchPlan.of(3, 18, wide=False, shortest=4).rungs == pytest.approx((0.85 * 6,))
    assert SearchPlan.of(3, 18, wide=False, shortest=10, longest=10).rungs == pytest.approx((0.85 * 6,))
    assert SearchPlan.of(1, 60, shortest=30, longest=30).rungs == (30,)
    assert SearchPlan.of(1, 60, shortest=90).rungs == pytest.approx((0.85 * 48,))
    assert SearchPlan.of(1, 5, shortest=0.1, longest=0.1).rungs == (4,)


@pytest.mark.parametrize("families", [3, 4])
def test_in_a_single_rung_every_family_is_trained(journal, families):
    names = list(SKILL)[:families]
    plan = SearchPlan.of(families, 20, wide=False, shortest=100)
    laboratory, study = Laboratory(by_family, 0.1 * plan.rungs[0]), study_in(journal)
    run = search(study, laboratory, plan, names, 20)
    begin(study, spaces(*names))
    run.run()
    assert [(label, rung) for label, rung, _ in laboratory.done] == [(name, 0) for name in names]


@pytest.mark.parametrize("overhead", [0.0, 0.4])
@pytest.mark.parametrize("seconds", [40, 300])
def test_the_budget_is_kept_and_used(journal, seconds, overhead):
    plan = SearchPlan.of(3, seconds)
    laboratory, study = Laboratory(by_family, overhead), study_in(journal)
    families = ("mlp", "cnn", "lstm")
    run = search(study, laboratory, plan, families, seconds)
    begin(study, spaces(*families))
    run.run()
    assert 0.8 * seconds < laboratory.now <= seconds + overhead + 1e-6


def test_hopeless_trials_are_stopped_early_and_good_ones_proposed(journal):
    def skill(trial, seconds):
        rate = trial.settings["training.optimizer.learning_rate"]
        return {"mlp": 0.8, "cnn": 0.6}[trial.family] + 0.01 * min(seconds, 5) + 0.1 * (rate > 1.5e-3)

    plan = SearchPlan.of(2, 400)
    laboratory, study = Laboratory(skill), study_in(journal)
    run = search(study, laboratory, plan, ("mlp", "cnn"), 400)
    begin(study, spaces("mlp", "cnn"))
    best = run.run()
    assert best.family == "mlp"
    assert best.settings["training.optimizer.learning_rate"] > 1.5e-3
    trials = study.trials()
    stopped = [trial for trial in trials if trial.state == "stopped"]
    assert len(trials) > 10
    assert len(stopped) > len(trials) / 4
    # All trials of the bad family but its own recipe, which meets one rival only at first, end at the first rung.
    assert all(len(trial.results) == 1 for trial in trials[2:] if trial.family == "cnn")
    assert best_trial(trials).number == best.number
    assert not [trial for trial in trials if trial.state == "open"]


def test_what_cannot_be_trained_is_left_out(journal):
    plan = SearchPlan.of(2, 60)
    laboratory, study = Laboratory(lambda trial, seconds: None if trial.family == "cnn" else 0.5), study_in(journal)
    run = search(study, laboratory, plan, ("mlp", "cnn"), 60)
    begin(study, spaces("mlp", "cnn"))
    assert run.run().family == "mlp"
    assert {trial.state for trial in study.trials() if trial.family == "cnn"} == {"failed"}


def test_when_nothing_can_be_trained_that_is_said_soon(journal):
    laboratory, study = Laboratory(lambda trial, seconds: None), study_in(journal)
    run = search(study, laboratory, SearchPlan.of(2, 1000), ("mlp", "cnn"), 1000)
    begin(study, spaces("mlp", "cnn"))
    with pytest.raises(InputError, match="no family could be trained"):
        run.run()
    assert len(laboratory.done) == 2


def test_an_interrupted_rung_is_done_again_and_nothing_else(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.sqlite3'}"
    plan, calls = SearchPlan.of(4, 27), []

    def interrupted(trial, seconds):
        calls.append(trial.label)
        if len(calls) == 3:
            raise RunInterrupted("stop")
        return by_family(trial, seconds)

    laboratory, study = Laboratory(interrupted), study_in(storage)
    run = search(study, laboratory, plan, SKILL, 27)
    begin(study, spaces(*SKILL))
    with pytest.raises(RunInterrupted):
        run.run()
    again = Laboratory(by_family)
    best = search(study_in(storage), again, plan, SKILL, 27).run()
    assert [(label, rung) for label, rung, _ in again.done] == [
        ("transformer", 0), ("lstm", 0), ("cnn", 1), ("mlp", 1), ("cnn x2", 1),
    ]  # fmt: skip
    assert best.label == "cnn x2"


def test_a_search_that_is_over_trains_nothing_more_when_it_goes_on(journal):
    plan = SearchPlan.of(4, 27)
    study = study_in(journal)
    begin(study, spaces(*SKILL))
    assert search(study, Laboratory(by_family), plan, SKILL, 27).run().label == "cnn x2"
    again = Laboratory(by_family)
    assert search(study_in(journal), again, plan, SKILL, 0).run().label == "cnn x2"
    assert not again.done


def test_a_trial_that_failed_when_trained_longer_is_not_the_best_one(journal):
    study = study_in(journal)
    study.spaces = spaces("mlp", "cnn")
    begin(study, study.spaces)
    for trial, score in ((study.begin(), 0.9), (study.begin(), 0.8)):
        study.report(trial.number, result(0, 1.0, score), score)
    assert best_trial(study.trials()).family == "mlp"
    study.fail(0)
    assert best_trial(study.trials()).family == "cnn"
    study.fail(1)
    assert best_trial(study.trials()).family == "mlp"


PROCESS = """
    import os, signal, sys, time
    sys.path.insert(0, {tests!r})
    from workflows.test_workflows_search import SKILL, Laboratory, by_family, search, spaces, study_in
    from modelwright.workflows.search import SearchPlan, begin
    storage, owner, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
    families = ("mlp", "cnn")
    laboratory = Laboratory(by_family)

    def train(trial, rung, seconds):
        time.sleep(0.02)
        found = laboratory(trial, rung, seconds)
        if len(laboratory.done) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    from modelwright.workflows.study import Study
    first = lambda study: begin(study, spaces(*families))
    study = Study.create(storage, "study", {{"by": owner}}, owner=owner, maximize=True, seed=0, prepare=first)
    if study is None:
        study = Study.join(storage, "study", owner=owner, seed=0)
    run = search(study, laboratory, SearchPlan.of(2, 50), families, 50)
    run._train = train
    run.run()
"""


def process(storage, owner, kill_at=0):
    script = textwrap.dedent(PROCESS.format(tests=str(Path(__file__).resolve().parents[1])))
    return subprocess.Popen([sys.executable, "-c", script, storage, owner, str(kill_at)])


def test_a_killed_process_goes_on_where_it_was(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.sqlite3'}"
    killed = process(storage, "me", kill_at=4)
    assert killed.wait() == -signal.SIGKILL
    before = Study.join(storage, "study", owner="me", seed=0).trials()
    kept = sum(len(trial.results) for trial in before)
    open_ones = [trial.number for trial in before if trial.state == "open"]
    assert kept == 3
    assert open_ones
    again = process(storage, "me")
    assert again.wait() == 0
    after = Study.join(storage, "study", owner="me", seed=0).trials()
    assert not [trial for trial in after if trial.state == "open"]
    assert all(after[number].results for number in open_ones)
    assert [trial.results[: len(old.results)] for trial, old in zip(after, before, strict=False)] == [old.results for old in before]


@pytest.mark.parametrize("scheme", ["sqlite:///{}", "journal:{}"])
def test_two_processes_share_a_study(tmp_path, scheme):
    storage = scheme.format(tmp_path / "study")
    workers = [process(storage, owner) for owner in ("one", "two")]
    for worker in workers:
        assert worker.wait() == 0
    study = Study.join(storage, "study", owner="three", seed=0)
    trials = study.trials()
    assert {trial.owner for trial in trials} == {"one", "two"}
    assert [trial.label for trial in trials[:2]] == ["mlp", "cnn"]
    assert not [trial for trial in trials if trial.state in ("open", "waiting")]
    assert len(trials) > 3
    # Both may have tried the larger size of the same trial; nothing else is tried twice.
    proposed = [str(trial.settings) for trial in trials if "x2" not in trial.label]
    assert len(set(proposed)) == len(proposed)
    assert study.plan["by"] in ("one", "two")


def test_a_journal_outlives_a_process_that_was_killed_while_it_wrote(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "STALE_SECONDS", 3)
    monkeypatch.chdir(tmp_path)
    begin(study_in("journal:study"), spaces("mlp"))
    with Path("study").open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    # The lock of one that was killed; a link to a relative path would lead nowhere.
    Path("study.lock").symlink_to(tmp_path / "study")
    study = study_in("journal:study", "other")
    study.spaces = spaces("mlp")
    trial = study.begin()
    study.report(trial.number, result(0, 1.0, 0.9), 0.9)
    again = study_in("journal:study", "third").trials()
    assert [(seen.label, seen.owner, len(seen.results)) for seen in again] == [("mlp", "other", 1)]


def test_who_joins_before_there_is_any_result_tries_something_new(journal):
    first = study_in(journal, "first")
    first.spaces = spaces("mlp", "cnn")
    begin(first, first.spaces)
    assert [first.begin().label, first.begin().label] == ["mlp", "cnn"]
    laboratory = Laboratory(by_family)
    search(study_in(journal, "second"), laboratory, SearchPlan.of(2, 60), ("mlp", "cnn"), 60).run()
    assert {trial.owner for trial in first.trials()} == {"first", "second"}
    assert {trial.state for trial in first.trials() if trial.owner == "first"} == {"open"}


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        ("study.sqlite3", "can't read the storage"),
        ("sqlite:////nowhere/at/all/study.sqlite3", "can't be used"),
        ("nosql://host/x", "can't be used"),
        ("mysql+nodriver://me:secret@host/x", "can't be used"),
        ("journal:/nowhere/at/all/study", "no folder"),
    ],
)
def test_a_storage_that_is_not_there(storage, expected):
    with pytest.raises(InputError, match=expected) as error:
        Study.join(storage, "study", owner="me", seed=0)
    assert "secret" not in str(error.value)


def test_a_missing_optuna_has_a_remedy(monkeypatch, journal):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'modelwright\[tune\]'"):
        Study.join(journal, "study", owner="me", seed=0)


def test_a_trial_without_an_owner_is_adopted(journal):
    study = study_in(journal)
    study.spaces = spaces("mlp")
    begin(study, study.spaces)
    study._study.ask()
    assert study.trials()[0].owner == ""
    study.adopt()
    assert study.trials()[0].owner == "me"


def test_trials_are_judged_on_as_much_as_a_rung_has_time_for(table, monkeypatch):
    recipe = chosen_recipe(str(table), [], {"model.family": "mlp"})
    timed = probe(Job.make(recipe, load(recipe.data, 0)))
    monkeypatch.setattr(judge_module, "THOROUGH", replace(judge_module.THOROUGH, fewest=20))
    assert judged_examples({"mlp": timed}, 1e-9) == 20
    assert judged_examples({"mlp": timed}, 1e9) == len(timed.job.dataset.splits["validation"]) == 30

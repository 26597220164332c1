"""`select`: its folder, its report, its budget, going on, and wrong input."""

import json
import os
import shutil
import signal
import sys
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from workflows.test_workflows_search import result, spaces

# Imported here, so that on a busy machine they don't eat the budgets of the tests.
pytest.importorskip("sqlalchemy.orm")
pytest.importorskip("matplotlib.figure")

from modelwright.core.errors import InputError, RunInterrupted
from modelwright.core.run import Run
from modelwright.data.config import DataConfig
from modelwright.data.dataset import load
from modelwright.evaluation.comparison import pack
from modelwright.training.record import Record
from modelwright.workflows import select as select_module
from modelwright.workflows.contest import Asked, Found
from modelwright.workflows.recipe import load_recipe
from modelwright.workflows.search import SearchPlan
from modelwright.workflows.select import select
from modelwright.workflows.standings import Standings
from modelwright.workflows.study import Study, Trial


def spending(seconds, *arguments, **more):
    """`select` with so many seconds; with more of them where the machine is so busy that this is too little."""
    try:
        return select(*arguments, budget=f"{seconds}s", **more)
    except InputError as error:
        if seconds > 100 or not any(said in str(error) for said in ("too small", "spent before", "no family could be trained")):
            raise
        shutil.rmtree(more["output"], ignore_errors=True)
        return spending(3 * seconds, *arguments, **more)


def test_from_data_to_a_recipe_and_a_trained_winner(command, table, tmp_path):
    folder = tmp_path / "found"
    found = spending(16, str(table), families=["mlp", "linear"], output=folder, train=True)
    answer = json.loads(json.dumps(found.to_json()))
    assert {"study.sqlite3", "recipe.yaml", "trials.json", "pareto.png", "log.txt", "run"} == {
        file.name for file in folder.iterdir() if file.name != "comparison.json"
    }
    assert (folder / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert answer["best"] == answer["trials"][0]["number"]
    assert {trial["label"] for trial in answer["trials"]} >= {"mlp", "linear"}
    assert set(answer["tied"]) == {trial["number"] for trial in answer["trials"] if trial["tied"]}
    assert answer["front"]
    assert "errors" not in answer["trials"][0]["rungs"][0]
    assert json.loads((folder / "trials.json").read_text())["verdict"] == answer["verdict"]
    recipe = load_recipe(folder / "recipe.yaml")
    assert recipe.model.family == answer["trials"][0]["family"] == answer["outcome"]["family"]
    assert (recipe.training.precision, recipe.training.compile) == ("auto", "auto")
    assert found.outcome.run.path == folder / "run"
    assert "test" in found.outcome.evaluation.splits
    code, out, err = command("select", "--resume", folder, "--json")
    assert code == 0, err
    assert json.loads(out)["best"] == answer["best"]
    assert command("train", folder / "recipe.yaml", "--budget", "30 steps", "--output", tmp_path / "run", "--quiet")[0] == 0
    # What other verbs say of the search itself.
    assert json.loads(command("watch", folder, "--json")[1])["state"] == "finished"
    code, out, _ = command("report", folder, "--json")
    page = (folder / "report.html").read_text()
    assert code == 0
    assert "The comparison of families" in json.loads(out)["sections"]
    assert "This is a search" in page
    assert "not finished" not in page
    code, _, err = command("export", folder, "--to", "torch")
    assert code == 2
    assert "it is a search. Take its winner" in " ".join(err.split())
    assert not (folder / "exports").exists()


def test_an_interrupted_search_goes_on_in_the_middle_of_a_rung(table, tmp_path, monkeypatch):
    folder, counted, steps = tmp_path / "found", Record.count, []

    def interrupting(self, samples, loss):
        counted(self, samples, loss)
        if self.step == 1:
            steps.append(0)
        if len(steps) == 2 and self.step == 15:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Record, "count", interrupting)
    # Rungs that are longer than the time between two checkpoints are saved.
    settings = ["training.checkpoint_interval=0.1"]
    with pytest.raises(RunInterrupted, match="select --resume"):
        spending(12, str(table), families=["mlp", "linear"], output=folder, settings=settings)
    monkeypatch.setattr(Record, "count", counted)
    assert not (folder / "trials.json").exists()
    assert list((folder / "rungs" / "trial-1-0").glob("step-*"))
    found = select(resume=folder)
    assert {trial["label"] for trial in found.report["trials"]} >= {"mlp"}
    assert (folder / "recipe.yaml").is_file()
    assert not (folder / "rungs").exists()


def test_what_was_found_is_kept_whatever_becomes_of_the_winner(table, tmp_path, monkeypatch):
    errors = iter([InputError("the budget is spent"), KeyboardInterrupt(), InputError("the budget is spent")])

    def stop(run, *arguments):
        (run.path / "recipe.yaml").write_text("half a run")
        raise next(errors)

    monkeypatch.setattr(select_module, "train_winner", stop)
    monkeypatch.setattr(select_module, "COMPARISON_SHARE", 0.04)
    folder, storage = tmp_path / "found", f"journal:{tmp_path / 'study.journal'}"
    with pytest.raises(InputError, match="the budget is spent"):
        select(str(table), budget="60s", families=["linear"], train=True, output=folder, storage=storage)
    found = (folder / "trials.json").read_text()
    with pytest.raises(RunInterrupted, match="select --resume"):
        select(resume=folder)
    with pytest.raises(InputError, match="the budget is spent"):
        select(resume=folder)
    assert (folder / "trials.json").read_text() == found
    assert load_recipe(folder / "recipe.yaml").model.family == "linear"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"budget": None}, "no budget"),
        ({"budget": "3 epochs"}, "can't spend"),
        ({"budget": "0.1s"}, "too small"),
        ({"families": ["cnn"]}, "doesn't fit a table"),
        ({"families": ["mpl"]}, "Did you mean mlp"),
        ({"storage": "study.db"}, "can't read the storage"),
        ({"storage": "sqlite:////nowhere/x.sqlite3"}, "can't be used"),
        ({"settings": ["data.validation=0"]}, "validation"),
        ({"settings": ["training.batchsize=3"]}, "unknown key"),
    ],
)
def test_wrong_input_leaves_nothing(table, tmp_path, arguments, expected):
    with pytest.raises(InputError, match=expected):
        select(str(table), output=tmp_path / "found", **{"budget": "20s", **arguments})
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"digest": "0"}, "data changed"),
        ({"terms": {"families": ["mlp"]}}, r"begun with other settings \(data, families, training\)"),
    ],
)
def test_a_shared_study_is_about_one_question(table, tmp_path, about, expected):
    storage = f"journal:{tmp_path / 'shared.journal'}"
    digest = load(DataConfig(path=str(table)), 0).digest()
    Study.create(storage, "shared", {"digest": digest, **about}, owner="other", maximize=True, seed=0)
    with pytest.raises(InputError, match=expected):
        select(str(table), budget="20s", families=["linear"], storage=storage, study="shared", output=tmp_path / "found")
    assert not (tmp_path / "found").exists()


def test_a_missing_optuna_has_a_remedy_and_leaves_nothing(table, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'modelwright\[tune\]'"):
        select(str(table), budget="20s", families=["linear"], output=tmp_path / "found")
    assert not (tmp_path / "found").exists()


class _Job:
    class task:
        primary = "accuracy"
        higher_is_better = True


def standings(*trials, rungs=(1.0, 2.0)):
    made = spaces("mlp", "cnn")
    found = Found(list(trials), trials[0], _Job, 100, SearchPlan(rungs, True, 0.0))
    return Standings.of(found, made)


def trial(number, family, errors, **more):
    """A trial with one rung for each row of errors."""
    results = tuple(
        result(rung, 2.0**rung, 1 - sum(wrong) / len(wrong), errors=_packed(wrong), **more) for rung, wrong in enumerate(errors)
    )
    settings = spaces(family)[family].own
    return Trial(
        number=number, label=f"{family} {number}", family=family, settings=settings, state="open", owner="", first_rung=0, results=results
    )


def _packed(wrong):
    return pack(torch.tensor(wrong, dtype=torch.float64))


def test_a_tie_is_named_and_a_clear_difference_is_not_one():
    few, some, many = [1] * 4 + [0] * 196, [1] * 8 + [0] * 192, [1] * 80 + [0] * 120
    best = trial(0, "mlp", [some, few], size=400)
    near = trial(1, "mlp", [some, some], size=100)
    far = trial(2, "cnn", [many], size=300)
    made = standings(best, near, far)
    assert [row.trial.number for row in made.rows] == [0, 1, 2]
    assert [row.tied for row in made.rows] == [None, True, False]
    assert made.verdict().startswith("a statistical tie: 1 of 2 others can't be told from mlp 0")
    assert "the smallest of them is mlp 1, 100 B against 400 B" in made.verdict()
    alone = standings(best, far)
    assert alone.verdict().startswith("mlp 0 is better than the other trial")
    assert not alone.tied
    longer = best.model_copy(update={"results": best.results[1:]})
    assert standings(longer, far).verdict().startswith("nothing was trained as long as mlp 0")


def test_a_trial_that_was_stopped_is_compared_where_it_stopped():
    good, bad = [0] * 200, [1] * 60 + [0] * 140
    made = standings(trial(0, "mlp", [bad, good]), trial(1, "cnn", [bad]))
    # At the only rung that both reached, they were wrong on the same examples.
    assert made.rows[1].tied is True


def test_the_front_counts_score_size_latency_and_time():
    good, fair = [0] * 100, [1] * 10 + [0] * 90
    slow = trial(0, "cnn", [fair, good], size=400, latency=2e-3)
    quick = trial(1, "mlp", [fair, fair], size=100, latency=1e-3)
    made = standings(slow, quick)
    assert [(trial.number, result.rung) for trial, result in made.front] == [(0, 1), (1, 0)]


def test_tables_fit_the_terminal():
    errors = [[1] * 10 + [0] * 90] * 2
    trials = [trial(number, "mlp", errors) for number in range(30)]
    trials[3] = trials[3].model_copy(update={"settings": {**trials[3].settings, "width": 2.7, "model.dropout": 0.123, "depth": 0.6}})
    made = standings(*trials)
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(made.table())
    console.print(made.front_table())
    console.file.close()
    text = console.export_text()
    assert "and 20 more" in text
    assert "width x2.7, depth x0.6, dropout" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_a_password_is_not_kept(tmp_path):
    secret = "postgresql://me:secret@host/studies"
    asked = Asked.of("select", "digits", "60s", (), None, (), None, storage=secret)
    asked.save(Run(tmp_path))
    assert "secret" not in (tmp_path / "comparison.json").read_text()
    assert Asked.saved(Run(tmp_path), "select") == replace(asked, storage="postgresql://me@host/studies")


def test_only_a_folder_of_a_search_can_be_resumed(run, tmp_path):
    with pytest.raises(InputError, match="holds no search"):
        select(resume=run)
    with pytest.raises(InputError, match="does not exist"):
        select(resume=tmp_path / "nothing")

"""`watch`: one picture of runs in every state, from whole, growing, empty and broken files."""

from __future__ import annotations

import io
import json
import shutil
import time

import pytest
from rich.console import Console

from modelwright.core.run import Run
from modelwright.reporting.braille import Canvas, Curve, chart
from modelwright.reporting.live import picture
from modelwright.serving.bundle import load_bundle
from modelwright.workflows.card import card_of
from modelwright.workflows.watch import look


@pytest.fixture
def young(run, tmp_path):
    """A run of which nothing but recipe and state is there."""
    folder = tmp_path / "young"
    folder.mkdir()
    for name in ("recipe.yaml", "run.json"):
        shutil.copy(run / name, folder / name)
    return folder


def rows(run):
    return (run / "metrics.jsonl").read_text().splitlines()


def drawn(folder, width=80, height=24):
    console = Console(width=width, height=height, file=io.StringIO(), record=True)
    console.print(picture(look(Run(folder)), width, height - 1))
    return console.export_text()


def test_once_prints_a_picture_and_ends(command, run):
    code, out, _ = command("watch", run, "--once")
    assert code == 0
    assert "finished" in out
    assert "⠀" not in out
    assert any("⠁" <= mark <= "⣿" for mark in out)


def test_json_has_the_numbers(command, run):
    code, out, _ = command("watch", run, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["state"] == "finished"
    assert found["progress"] == 1.0
    assert found["step"] == 60
    assert found["metrics"]["accuracy"] > 0
    assert found["seconds_left"] is None


def test_a_growing_file_is_followed(young, run):
    whole = rows(run)
    assert look(Run(young)).state == "waiting"
    seen = []
    for count in (1, len(whole) // 2, len(whole) - 3):
        (young / "metrics.jsonl").write_text("\n".join(whole[:count]) + "\n")
        glance = look(Run(young))
        assert glance.state == "training"
        assert len(glance.rows) == count
        seen.append(glance.progress)
        assert drawn(young)
    assert seen == sorted(seen)
    glance = look(Run(young))
    assert glance.seconds_left is not None
    assert glance.forecast is not None
    assert "final loss" in drawn(young)


@pytest.mark.parametrize("content", ["", "\n", "{", '{"step": 1', "null\n3\n[]\n", '{"step": 1, "progress": "x", "loss": null}\n'])
def test_an_empty_or_broken_file_is_no_failure(command, young, content):
    (young / "metrics.jsonl").write_text(content)
    code, out, err = command("watch", young, "--once")
    assert (code, err) == (0, "")
    assert "waiting" in out


def test_a_broken_last_line_costs_that_line_only(young, run):
    whole = rows(run)[:20]
    (young / "metrics.jsonl").write_text("\n".join(whole) + "\n" + rows(run)[20][:40])
    assert len(look(Run(young)).rows) == 20


def test_a_run_without_news_is_called_silent(young, run):
    (young / "metrics.jsonl").write_text("\n".join(rows(run)[:30]) + "\n")
    later = (young / "metrics.jsonl").stat().st_mtime + 3600
    assert look(Run(young), now=later).state == "silent"


def test_a_run_that_ended_before_its_first_row_is_called_silent(young):
    assert look(Run(young), now=time.time() + 200).state == "waiting"
    assert look(Run(young), now=time.time() + 3600).state == "silent"


def test_a_damaged_file_is_told(command, young):
    (young / "run.json").write_text("{")
    code, out, _ = command("watch", young, "--once")
    assert code == 0
    assert "! run.json can't be read" in out
    assert json.loads(command("watch", young, "--json")[1])["problems"] == ["run.json can't be read (JSONDecodeError)"]


def test_a_build_that_compares_shows_its_trials(tmp_path):
    (tmp_path / "comparison.json").write_text(json.dumps({"trials": []}))
    assert look(Run(tmp_path), now=time.time() + 3600).state == "comparing"
    (tmp_path / "comparison.json").write_text(json.dumps({"trials": [{"candidate": "cnn", "seconds": 2.0, "value": 0.9}]}))
    assert look(Run(tmp_path)).state == "comparing"
    assert "cnn" in drawn(tmp_path)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50), (40, 12), (30, 6), (20, 3), (200, 20)])
def test_a_picture_fits_its_window(young, run, width, height):
    (young / "metrics.jsonl").write_text("\n".join(rows(run)[:60]) + "\n")
    for name in ("run.json", "evaluation.json", "ledger.jsonl"):
        (young / name).write_text("{")
    lines = drawn(young, width, height).rstrip("\n").split("\n")
    assert max(map(len, lines)) <= width
    assert len(lines) <= height


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_first_row_is_no_curve_yet(young, run, width):
    (young / "metrics.jsonl").write_text(rows(run)[0] + "\n")
    assert "loss" in drawn(young, width, 24)


def test_what_is_no_run_is_refused(command, tmp_path):
    code, _, err = command("watch", tmp_path, "--once")
    assert code == 2
    assert "no run folder" in err
    code, _, err = command("watch", tmp_path / "none", "--once")
    assert code == 2
    assert "does not exist" in err


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "1e300"])
def test_an_interval_must_be_above_zero_and_come_to_an_end(command, run, interval):
    assert command("watch", run, "--interval", interval)[0] == 2


def test_dots_are_where_they_were_set():
    canvas = Canvas(2, 1)
    canvas.dot(0, 0)
    canvas.dot(3, 3)
    canvas.dot(99, 99)
    assert canvas.rows()[0].plain == "⠁⢀"


def test_a_chart_has_its_extremes_at_its_axis():
    lines = chart([Curve([0, 1], [1.0, 5.0])], 30, 8, labels=[(0, "0"), (1, "end")])
    assert lines[0].plain.strip().startswith("5")
    assert lines[-2].plain.strip().startswith("1")
    assert lines[-1].plain.rstrip().endswith("end")
    assert all(line.cell_len <= 30 for line in lines)
    assert chart([Curve([0.5], [float("nan")])], 30, 8, labels=[])


def test_a_search_is_finished_when_its_winner_is(run, tmp_path):
    folder = Run(tmp_path / "search")
    folder.path.mkdir()
    trials = [{"candidate": "mlp", "seconds": 1.0, "value": 0.9}]
    folder.write_json(folder.comparison, {"verb": "select", "train": True, "trials": trials})
    assert look(folder).state == "comparing"
    folder.write_json(folder.standings, {"metric": "accuracy", "winner": "mlp", "verdict": "mlp is better"})
    assert look(folder).state == "comparing"
    shutil.copytree(run, folder.winner.path)
    glance = look(folder)
    assert glance.state == "finished"
    assert glance.name == "run"
    assert glance.rows
    shutil.rmtree(folder.winner.path)
    folder.write_json(folder.comparison, {"verb": "select", "train": False, "trials": trials})
    glance = look(folder)
    assert (glance.state, glance.summary) == ("finished", "mlp is better")


def test_a_card_tells_the_seconds_that_were_measured(run):
    seconds = card_of(run, load_bundle(run))["training_seconds"]
    assert seconds == Run(run).ledger.entries()["training time"].measured > 0
    assert card_of(run / "model", load_bundle(run))["training_seconds"] is None

"""`predict` and `evaluate`: bundles at work, and what they refuse."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from modelwright.cli import main


def test_a_table_gets_a_row_each(command, run, table):
    code, out, _ = command("predict", run, table, "--json", "--probabilities")
    assert code == 0
    rows = json.loads(out)["predictions"]
    assert len(rows) == 300
    assert rows[0]["input"].endswith("line 2")
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert rows[0]["confidence"] == max(rows[0]["probabilities"].values())


def test_standard_input_gives_the_same_as_a_file(command, run, table, monkeypatch):
    _, out, _ = command("predict", run, table, "--json")
    monkeypatch.setattr("sys.stdin", io.StringIO(table.read_text()))
    _, piped, _ = command("predict", run, "-", "--json")
    drop = lambda text: [row["label"] for row in json.loads(text)["predictions"]]  # noqa: E731
    assert drop(out) == drop(piped)


def test_json_lines_and_unseen_categories_are_taken(command, run, monkeypatch):
    monkeypatch.setattr(
        "sys.stdin", io.StringIO('{"first": 2.0, "second": 0, "color": "violet"}\n{"first": -2.0, "second": null, "color": "red"}\n')
    )
    code, out, err = command("predict", run, "-", "--json")
    assert code == 0
    assert len(json.loads(out)["predictions"]) == 2
    assert "never seen" in err


def test_predictions_go_to_a_csv_file(command, run, table, tmp_path):
    output = tmp_path / "predictions.csv"
    assert command("predict", run, table, "--output", output, "--probabilities")[0] == 0
    with output.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    assert set(rows[0]) == {"input", "label", "confidence", "probability no", "probability yes"}


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [(["missing.csv"], "missing.csv"), (["{lacking}"], "lacks the column"), (["{empty}"], "empty")],
)
def test_wrong_input(command, run, tmp_path, inputs, expected):
    (tmp_path / "lacking.csv").write_text("first,color\n1,red\n2,blue\n")
    (tmp_path / "empty.csv").write_text("")
    given = [text.format(lacking=tmp_path / "lacking.csv", empty=tmp_path / "empty.csv") for text in inputs]
    code, _, err = command("predict", run, *given)
    assert code == 2
    assert expected in err


def test_no_run_and_a_damaged_bundle(command, run, table, tmp_path):
    import shutil

    assert command("predict", tmp_path / "nothing", table)[0] == 2
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    weights = copy / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    code, _, err = command("predict", copy, table)
    assert code == 2
    assert "damaged" in err
    (copy / "model" / "bundle.json").write_text("{")
    assert "damaged" in command("predict", copy, table)[2]


def test_evaluate_shows_what_was_measured_and_measures_other_data(command, run, table):
    code, out, _ = command("evaluate", run, "--json")
    assert code == 0
    assert json.loads(out)["splits"]["test"]["accuracy"] == json.loads((run / "evaluation.json").read_text())["splits"]["test"]["accuracy"]
    code, out, _ = command("evaluate", run, table, "--json")
    assert code == 0
    assert json.loads(out)["splits"][str(table)]["accuracy"]["value"] > 0.7


def test_labels_that_were_never_seen_are_refused(command, run, tmp_path):
    data = tmp_path / "other.csv"
    data.write_text("first,second,color,answer\n1,2,red,maybe\n2,1,blue,perhaps\n")
    code, _, err = command("evaluate", run, data)
    assert code == 2
    assert "answer" in err


def test_images_from_files_and_folders(command, tmp_path):
    random = np.random.default_rng(0)
    for label, level in (("dark", 40), ("light", 200)):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(40):
            pixels = np.clip(random.normal(level, 20, (10, 10)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{number}.png")
    run = tmp_path / "run"
    arguments = ["train", str(tmp_path / "images"), "--family", "cnn", "--budget", "20 steps", "--output", str(run), "--quiet"]
    assert main([*arguments, "--set", "training.batch_size=16"]) == 0
    (tmp_path / "broken.png").write_bytes((tmp_path / "images" / "dark" / "0.png").read_bytes()[:40])
    code, out, err = command("predict", run, tmp_path / "images" / "light" / "3.png", tmp_path / "images" / "dark", "--json")
    assert code == 0
    rows = json.loads(out)["predictions"]
    assert rows[0]["label"] == "light"
    assert len(rows) == 41
    code, _, err = command("predict", run, tmp_path / "broken.png")
    assert code == 2
    assert "broken.png" in err


def test_names_that_look_like_markup_are_shown_as_they_are(command, tmp_path):
    data = tmp_path / "data.csv"
    data.write_text("[red],y\n" + "".join(f"{number * 7 % 13},{'[bold]' if number % 2 else '[/x]'}\n" for number in range(80)))
    run = tmp_path / "run"
    assert command("train", data, "--family", "linear", "--budget", "5 steps", "--output", run)[0] == 0
    for arguments in (("predict", run, data), ("evaluate", run), ("data", "describe", data)):
        code, out, _ = command(*arguments)
        assert code == 0
        assert "[bold]" in out or arguments[0] == "evaluate"

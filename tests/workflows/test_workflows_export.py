"""`export` as people use it: a finished run to a folder that stands on its own, and everything that can be wrong."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import modelwright as mw
from modelwright.cli import main
from modelwright.core.errors import InputError


@pytest.fixture(scope="module")
def language_run(tmp_path_factory):
    """A finished run of a decoder on some sentences."""
    words = random.Random(0)
    folder = tmp_path_factory.mktemp("language")
    sentences = (
        f"{words.choice(('the cat', 'a dog'))} {words.choice(('sees', 'hears'))} {words.choice(('me', 'you'))}.\n" for _ in range(300)
    )
    (folder / "corpus.txt").write_text("".join(sentences))
    settings = ["data.context=16", "training.batch_size=8", "training.precision=float32", "training.compile=false"]
    settings += ["data.validation=0.1", "data.test=0.1", "model.width=32", "model.num_heads=2", "model.depth=1", "baselines=false"]
    options = [part for setting in settings for part in ("--set", setting)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELWRIGHT_CACHE", str(folder / "cache"))
        command = ["train", str(folder / "corpus.txt"), "--family", "transformer", "--budget", "20 steps", "--output", str(folder / "run")]
        assert main([*command, *options, "--quiet"]) == 0
    return folder / "run"


def code_of(folder: Path) -> str:
    """The Python of an export's README."""
    return (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]


def test_the_lines_of_every_readme_work_without_this_package(run, language_run, tmp_path):
    exports = []
    for path, targets in ((run, ("torch", "onnx", "safetensors")), (language_run, ("torch", "huggingface"))):
        for target in targets:
            exports.append(tmp_path / f"{path.parent.name}-{target}")
            mw.export(path, target, output=exports[-1], examples=20)
    script = "import sys, os\nsys.modules['modelwright'] = None\n"
    for folder in exports:
        code = code_of(folder)
        assert "modelwright" not in code
        assert len(code.splitlines()) <= 7
        script += f"os.chdir({str(folder)!r})\nexec(compile({code!r}, 'README.md', 'exec'))\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert printed[0] in ("no", "yes")
    assert printed[1] == printed[0]
    assert printed[2].startswith("mlp ")
    assert printed[3].isdigit()
    assert len(printed) >= 5


def test_an_export_says_what_it_is_and_how_it_was_proved(run, command):
    code, out, _ = command("export", run, "--to", "torch", "--json")
    assert code == 0
    record = json.loads(out)
    folder = run / "exports" / "torch"
    assert record["path"] == str(folder)
    written = json.loads((folder / "export.json").read_text())
    assert {key: record[key] for key in written} == written
    assert written["model"]["run"] == run.name
    assert written["model"]["compared_on"] == "validation"
    assert written["comparison"]["examples"] == 30
    assert written["comparison"]["agreement"] == 1
    assert written["comparison"]["metric"] == "accuracy"
    assert written["comparison"]["original"] == written["comparison"]["exported"]
    assert written["latency"]["speedup"] > 0
    assert written["versions"]["torch"]
    assert [given["name"] for given in written["inputs"]] == ["numbers", "categories"]
    assert [column["name"] for column in written["inputs"][0]["columns"]] == ["first", "second"]
    assert sorted(written["inputs"][1]["columns"][0]["values"]) == ["blue", "green", "red"]
    assert written["outputs"][1]["labels"] == ["no", "yes"]
    assert str(run.parent) not in json.dumps(written), "a record names no place of the machine that wrote it"
    code, _, err = command("export", run, "--to", "torch")
    assert code == 2
    assert "the output folder exists and is not empty" in err


def test_what_a_person_sees(run, command, tmp_path):
    code, out, err = command("export", run, "--to", "safetensors", "--output", tmp_path / "out")
    assert (code, err) == (0, "")
    assert all(word in out for word in ("original", "safetensors", "accuracy", "agreement", "100.00%", "ship"))
    assert max(map(len, out.splitlines())) <= 80
    code, out, _ = command("export", run, "--to", "safetensors", "--output", tmp_path / "again", "--quiet")
    assert "agreement" in out
    assert "compare" not in out


def test_other_data_can_be_compared_on(run, table, tmp_path):
    bundle = shutil.copytree(run / "model", tmp_path / "bundle")
    with pytest.raises(InputError, match=r"a bundle alone doesn't know its data.*--data"):
        mw.export(bundle, "safetensors")
    made = mw.export(bundle, "safetensors", data=str(table), split="all", examples=100)
    assert made.comparison.examples == 100
    assert made.path == tmp_path / "exports" / "safetensors"
    assert made.record["model"]["compared_on"] == table.name


def test_data_that_is_gone_or_changed(run, table, tmp_path, command):
    moved = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("exports"))
    recipe = (moved / "recipe.yaml").read_text()
    gone = tmp_path / "gone.csv"
    (moved / "recipe.yaml").write_text(recipe.replace(str(table), str(gone)))
    code, _, err = command("export", moved, "--to", "safetensors")
    assert code == 2
    assert "the run's data can't be read to compare on" in " ".join(err.split())
    assert "--data" in err
    lines = table.read_text().splitlines()
    gone.write_text("\n".join(lines[:150]) + "\n")
    code, out, _ = command("export", moved, "--to", "safetensors")
    assert code == 0
    assert "the data has changed since the run was trained" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "onxn"], "unknown target 'onxn'; expected one of huggingface, onnx, safetensors, torch. Did you mean onnx?"),
        (["--to", "huggingface"], "the model predicts answer, and transformers' folders are written for models that continue texts"),
        (["--to", "torch", "--tolerance", "0"], "the tolerance is 0; expected a positive number"),
        (["--to", "torch", "--tolerance", "inf"], "the tolerance is inf; expected a positive number"),
        (["--to", "torch", "--tolerance", "nan"], "the tolerance is nan; expected a positive number"),
        (["--to", "torch", "--examples", "0"], "0 examples can't be compared on"),
        (["--to", "torch", "--data", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_wrong_arguments(run, command, tmp_path, arguments, message):
    code, _, err = command("export", run, *arguments, "--output", tmp_path / "out")
    assert code == 2
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_good_model(run, command, tmp_path):
    code, _, err = command("export", tmp_path / "nothing", "--to", "torch")
    assert code == 2
    assert "holds no bundle" in err
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(run / "recipe.yaml", unfinished)
    code, _, err = command("export", unfinished, "--to", "torch")
    assert code == 2
    assert "the run is not finished" in " ".join(err.split())
    damaged = shutil.copytree(run, tmp_path / "damaged")
    weights = damaged / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    code, _, err = command("export", damaged, "--to", "torch", "--output", tmp_path / "out")
    assert code == 2
    assert "is damaged" in " ".join(err.split())
    (tmp_path / "file").write_text("")
    code, _, err = command("export", run, "--to", "torch", "--output", tmp_path / "file")
    assert code == 2
    assert "a file stands where the output folder is wanted" in " ".join(err.split())
    assert not (tmp_path / "out").exists()

"""The run folder and what is written into it: all of it or nothing."""

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelwright.core.disk import disk_errors, write_atomic, written_aside
from modelwright.core.errors import InputError
from modelwright.core.run import Run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes half of what is written, then is full."""
    write = Path.write_bytes

    def write_half(path: Path, data: bytes) -> int:
        write(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write_half)


def write_half(folder: Path, failure: BaseException) -> None:
    """Begin to replace `folder`, then fail."""
    with written_aside(folder) as made:
        made.mkdir()
        (made / "weights").write_text("second, half")
        raise failure


def test_a_file_is_written_whole_and_alone(tmp_path: Path):
    write_atomic(tmp_path / "new" / "a.json", "é")
    write_atomic(tmp_path / "new" / "a.json", b"2")
    assert contents(tmp_path) == {"new/a.json": b"2"}


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_what_was_there(tmp_path: Path):
    (tmp_path / "a.json").write_text("before")
    for name in ("a.json", "b.json"):
        with pytest.raises(InputError, match=r"the disk is full. Free some space, or choose another place with --output\."):
            write_atomic(tmp_path / name, "after")
    assert contents(tmp_path) == {"a.json": b"before"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_run_without_a_model_says_why_and_what_to_do(tmp_path: Path):
    run = Run(tmp_path)
    assert "not finished. Go on with it: modelwright train --resume" in str(run.lacks("model"))
    run.write_json(run.comparison, {"verb": "select"})
    assert "Go on with it: modelwright select --resume" in str(run.lacks("model"))
    run.write_json(run.state, {})
    assert "Go on with it: modelwright train --resume" in str(run.lacks("model"))
    run.write_json(run.standings, {})
    run.winner.path.mkdir()
    assert "it is a search. Train its winner: modelwright train" in str(run.lacks("model"))
    run.winner.bundle.mkdir()
    assert f"Take its winner: {run.winner.path}" in str(run.lacks("model"))


def test_a_file_never_replaces_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.csv").write_text("kept")
    with pytest.raises(InputError, match=r"results: is a folder. Give the name of a file\."):
        write_atomic(tmp_path / "results", "new")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is a folder"):
        write_atomic(Path(), "new")
    assert contents(tmp_path) == {"results/a.csv": b"kept"}
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError("a bug")], ids=["full disk", "ctrl-c", "bug"]
)
def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path, failure: BaseException):
    bundle = tmp_path / "model"
    with written_aside(bundle) as made:
        made.mkdir()
        (made / "weights").write_text("first")
    with pytest.raises(type(failure)):
        write_half(bundle, failure)
    assert contents(tmp_path) == {"model/weights": b"first"}
    with written_aside(bundle) as made:
        made.mkdir()
        (made / "labels").write_text("third")
    assert contents(tmp_path) == {"model/labels": b"third"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bundle = tmp_path / "model"
    bundle.mkdir()
    (bundle / "weights").write_text("first")
    rename = Path.rename

    def rename_but_not_the_new_one(path: Path, target: Path) -> Path:
        if path.name == "model" and path.parent != tmp_path:
            raise OSError(errno.EACCES, "forbidden")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_but_not_the_new_one)
    with pytest.raises(OSError, match="forbidden"), written_aside(bundle) as made:
        made.mkdir()
    assert contents(tmp_path) == {"model/weights": b"first"}


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "not permitted"),
        (errno.EPERM, "not permitted"),
        (errno.ENOTDIR, "a file stands where a folder is needed"),
        (errno.EEXIST, "a file stands where a folder is needed"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.EISDIR, "is a folder"),
    ],
)
def test_errors_of_the_disk_are_told_with_a_remedy(number: int, message: str, tmp_path: Path):
    with pytest.raises(InputError, match=message) as error, disk_errors(tmp_path):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path) in str(error.value)
    assert error.value.remedy


def test_other_errors_pass_as_they_are(tmp_path: Path):
    with pytest.raises(OSError, match="loop"), disk_errors(tmp_path):
        raise OSError(errno.ELOOP, "loop")


def test_runs_of_the_same_name_get_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names = [Run.create("../my data: digits").path.name for _ in range(3)]
    assert names[0].endswith("-my-data-digits")
    assert names[1:] == [f"{names[0]}-2", f"{names[0]}-3"]
    assert all((tmp_path / "runs" / name).is_dir() for name in names)


def test_runs_started_at_once_share_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: Run.create("digits").path, range(40)))
    assert len(set(paths)) == 40


def test_a_chosen_folder_may_be_empty_but_not_used(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert Run.create("x", tmp_path / "empty").path == tmp_path / "empty"
    assert Run.create("x", tmp_path / "deep" / "new").path.is_dir()
    (tmp_path / "empty" / "recipe.yaml").touch()
    for taken in (tmp_path / "empty", tmp_path / "empty" / "recipe.yaml"):
        with pytest.raises(InputError, match=r"exists and is not empty. Choose another --output"):
            Run.create("x", taken)
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        Run.create("x", tmp_path / "empty" / "recipe.yaml" / "below")


def test_only_a_run_folder_opens(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist; expected a folder made by train or build"):
        Run.open(tmp_path / "none")
    with pytest.raises(InputError, match="is no run folder"):
        Run.open(tmp_path)
    (tmp_path / "recipe.yaml").touch()
    assert Run.open(str(tmp_path)).path == tmp_path


def test_everything_lies_in_the_run_folder(tmp_path: Path):
    run = Run.create("x", tmp_path / "run")
    places = [
        run.recipe,
        run.metrics,
        run.checkpoints,
        run.bundle,
        run.evaluation,
        run.quarantine,
        run.log,
        run.tensorboard,
        run.ledger.path,
    ]
    assert {place.parent for place in places} == {run.path}
    assert len(set(places)) == len(places)
    run.write_json(run.evaluation, {"splits": {}})
    assert json.loads(run.evaluation.read_text()) == {"splits": {}}
    with pytest.raises(ValueError, match="JSON compliant"):
        run.write_json(run.evaluation, {"value": float("nan")})
    assert json.loads(run.evaluation.read_text()) == {"splits": {}}


def test_wrong_input_before_the_training_leaves_no_folder(tmp_path: Path):
    run = Run.create("x", tmp_path / "run")
    with pytest.raises(InputError), run.interruptible("train"):
        raise InputError("no such column")
    assert list(tmp_path.iterdir()) == []


def test_what_has_begun_is_kept(tmp_path: Path):
    run = Run.create("x", tmp_path / "run")
    run.write_json(run.state, {"verb": "train"})
    with pytest.raises(InputError), run.interruptible("train"):
        raise InputError("the disk is full")
    assert run.state.is_file()


def test_a_run_opens_by_its_recipe_or_its_comparison(tmp_path: Path):
    run = Run(tmp_path)
    run.write_json(run.comparison, {})
    assert Run.open(tmp_path).comparison == run.comparison

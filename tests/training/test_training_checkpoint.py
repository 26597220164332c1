"""Checkpoints: what goes in comes out, damage is noticed, a full disk leaves nothing half written."""

import errno
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import InputError
from modelwright.training import checkpoint

STATE = {
    "numbers": [1, 2.5, -0.1 + 0.2, float("inf")],
    "nothing": None,
    "flag": True,
    "pair": (1, "two"),
    "empty": {},
    "optimizer": {0: {"step": torch.tensor(3.0)}, 12: {"exp_avg": torch.randn(2, 3)}},
    "half": torch.randn(3).bfloat16(),
    "layout": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    "nested": {"a/b": {"c": torch.arange(4)}, "a": {"b/c": torch.zeros(0, 3)}},
}


def equal(first, second):
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return type(first) is type(second) and len(first) == len(second) and all(map(equal, first, second))
    return type(first) is type(second) and first == second


def test_what_goes_in_comes_out(tmp_path):
    checkpoint.save(tmp_path, 500, STATE)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 500
    assert equal(found.state, STATE)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000500"]


def test_tied_weights_can_be_written(tmp_path):
    weight = torch.randn(3, 3)
    checkpoint.save(tmp_path, 1, {"a": weight, "b": weight, "c": weight[:2]})
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert torch.equal(found.state["c"], weight[:2])


def test_an_object_is_refused(tmp_path):
    with pytest.raises(TypeError, match="odd: a checkpoint can't hold a object"):
        checkpoint.save(tmp_path, 1, {"odd": object()})
    assert list(tmp_path.iterdir()) == []


def test_the_last_two_are_kept_by_number(tmp_path):
    for step in (9, 100, 20, 99_999_999, 100_000_000):
        checkpoint.save(tmp_path, step, {"x": step})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-100000000", "step-99999999"]


def test_without_any_there_is_none(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    assert checkpoint.latest(tmp_path / "missing") is None


def test_saving_a_step_again_replaces_it(tmp_path):
    checkpoint.save(tmp_path, 1, {"x": 1})
    checkpoint.save(tmp_path, 1, {"x": 2})
    assert checkpoint.latest(tmp_path) == (1, {"x": 2})


@settings(max_examples=40, deadline=None)
@given(data=st.data(), name=st.sampled_from(["tensors.safetensors", "state.json"]), cut=st.booleans())
def test_any_damage_is_noticed_and_passed_over(tmp_path_factory, data, name, cut):
    folder = tmp_path_factory.mktemp("damage")
    checkpoint.save(folder, 1, STATE)
    file = checkpoint.save(folder, 2, STATE) / name
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if cut:
        file.write_bytes(content[:place])
    else:
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        file.write_bytes(content)
    with pytest.warns(UserWarning, match="step-00000002 is damaged"):
        found = checkpoint.latest(folder)
    assert found is not None
    assert found.step == 1
    assert equal(found.state, STATE)


def test_an_altered_number_is_noticed(tmp_path):
    file = checkpoint.save(tmp_path, 2, {"rate": 0.125}) / "state.json"
    file.write_text(file.read_text().replace("0.125", "0.126"))
    with pytest.warns(UserWarning, match=r"state\.json is altered"):
        assert checkpoint.latest(tmp_path) is None


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
def test_a_missing_file_is_noticed(tmp_path, name):
    (checkpoint.save(tmp_path, 2, STATE) / name).unlink()
    with pytest.warns(UserWarning, match="damaged"):
        assert checkpoint.latest(tmp_path) is None


@pytest.mark.parametrize("culprit", ["fsync", "write_bytes", "write_text"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_is_one_sentence_and_leaves_the_former_checkpoint(tmp_path, monkeypatch, culprit, code):
    checkpoint.save(tmp_path, 1, {"x": torch.ones(3)})

    def full(*arguments, **options):
        raise OSError(code, os.strerror(code))

    if culprit == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(f"pathlib.Path.{culprit}", full)
    with pytest.raises(InputError, match=r"step-00000002: (the disk is full|the file system is read-only)\. .*--output"):
        checkpoint.save(tmp_path, 2, {"x": torch.zeros(3)})
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoint.latest(tmp_path).step == 1


def test_nothing_is_executed_on_loading(tmp_path):
    path = checkpoint.save(tmp_path, 1, {"x": 1})
    (path / "tensors.safetensors").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.warns(UserWarning, match="damaged"):
        assert checkpoint.latest(tmp_path) is None

"""The benchmarks' own parts: results that can be traced, and a peer that does what it says."""

import gzip
import importlib.util
import json
import re
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def result() -> Any:
    return module("result")


def module(name: str) -> ModuleType:
    """A script of the benchmarks, as a module."""
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def test_a_page_shows_medians_spread_and_ratios_of_its_raw_runs(result: Any, tmp_path: Path):
    gathered = result.Result("toy", "Which is faster?")
    for seconds in ([2.0, 8.0, 4.0], [3.0], [5.0]):
        gathered.add("slow", {"seconds": seconds, "accuracy": 0.98}, command=[sys.executable, "slow.py"])
    gathered.add("fast", {"seconds": 1.0}, command=["fast"])
    columns = [result.Column("seconds", "seconds", 1), result.Column("accuracy", "accuracy", 2, less_is_better=False)]
    page = gathered.write(columns, reference="slow", remarks="A remark.", folder=tmp_path)
    text = page.read_text()
    assert "| slow | 3 | 4.0 (3.0 to 5.0) | 1.00 | 0.98 (0.98 to 0.98) | 1.00 |" in text
    assert "| fast | 1 | 1.0 | 4.00 | - | - |" in text
    assert "A remark." in text
    assert "python slow.py" in text
    assert sys.executable not in text
    raw = json.loads(page.with_suffix(".json").read_text())
    assert [run["values"]["seconds"] for run in raw["runs"]] == [[2.0, 8.0, 4.0], [3.0], [5.0], 1.0]
    assert re.fullmatch(r"toy_[a-z0-9-]+-\d+c_\d{4}-\d\d-\d\d", page.stem)


def test_a_command_is_run_and_its_last_line_kept(result: Any):
    gathered = result.Result("toy", "?")
    row = gathered.run("echo", [sys.executable, "-c", "print('noise'); print('{\"accuracy\": 0.5}')"])
    assert row["values"]["accuracy"] == 0.5
    assert row["values"]["wall_seconds"] > 0
    with pytest.raises(RuntimeError, match="boom"):
        gathered.run("broken", [sys.executable, "-c", "raise SystemExit('boom')"])
    assert len(gathered.runs) == 1


def test_every_committed_page_has_its_raw_runs():
    pages = list((BENCHMARKS / "results").glob("*.md"))
    for page in pages:
        assert re.fullmatch(r"[a-z0-9-]+_[a-z0-9-]+_\d{4}-\d\d-\d\d", page.stem), page
        raw = json.loads(page.with_suffix(".json").read_text())
        assert raw["runs"], page


@pytest.mark.parametrize(("peer", "parameters"), [("cnn", 93_322), ("lstm", 36_910)])
def test_a_peer_trains_and_prints_one_object(peer: str, parameters: int, tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    for split in ("train", "t10k"):
        images = struct.pack(">I3I", 0x803, *pixels.shape) + pixels.tobytes()
        (tmp_path / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (tmp_path / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 20) + bytes(range(10)) * 2)
    options = ["--data", str(tmp_path), "--epochs", "2", "--batch-size", "8", "--workers", "0", "--threads", "1"]
    script = BENCHMARKS / "peers" / f"plain_pytorch_{peer}.py"
    done = subprocess.run([sys.executable, str(script), *options], capture_output=True, text=True, check=True, timeout=200)
    row = json.loads(done.stdout)
    assert row["parameters"] == parameters
    assert len(row["seconds_per_epoch"]) == len(row["test_accuracy_by_epoch"]) == 2
    assert 0 <= row["test_accuracy"] <= 1

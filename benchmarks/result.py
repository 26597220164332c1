"""A result: runs of several contenders on this machine, and the page that tells of them, every number of it traceable to a raw run.

    result = Result("mnist-cnn", "How fast does an epoch of the Keras example's CNN run?")
    for seed in range(3):                                        # contenders take turns, so that a slow spell hits all of them
        result.run("plain PyTorch", [sys.executable, "benchmarks/peers/plain_pytorch_cnn.py", "--seed", str(seed)])
        result.run("modelwright", [...])
    result.write([Column("seconds an epoch", "seconds_per_epoch", 2), Column("test accuracy", "test_accuracy", 4)], reference="plain PyTorch")

writes `results/mnist-cnn_<hardware>_<date>.md` and `.json` beside it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8", "asimd", "sve", "bf16")


@dataclass(frozen=True)
class Column:
    """A column of the table: its title, the key of the raw runs that it shows, and how many decimals.

    A key whose value is a list (the seconds of every epoch) stands for the median of that list. `less_is_better` decides which way the ratio to
    the reference goes. A score varies with the seed and is shown as mean and standard deviation; a time varies with the machine's other work, which
    only ever adds, and is shown as median.
    """

    title: str
    key: str
    decimals: int = 2
    less_is_better: bool = True
    is_score: bool = False


@dataclass
class Result:
    """Runs of contenders, gathered one by one.

    Args:
        what: short name with hyphens, the first part of the file's name.
        question: what is asked, one sentence; the page's heading.
    """

    what: str
    question: str
    runs: list[dict[str, Any]] = field(default_factory=list)

    def run(self, contender: str, command: list[str], environment: dict[str, str] | None = None) -> dict[str, Any]:
        """Run `command` from the repository's root and keep the JSON object in the last line of its standard output, and its wall time.

        Raises:
            RuntimeError: the command failed, with the end of what it said.
        """
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **(environment or {})})
        seconds = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)} failed with {done.returncode}:\n{done.stderr[-2000:]}")
        return self.add(
            contender, json.loads(done.stdout.strip().splitlines()[-1]), command=command, wall_seconds=seconds, environment=environment
        )

    def add(self, contender: str, values: dict[str, Any], **about: Any) -> dict[str, Any]:
        """Keep a run that was made in another way; `about` says how."""
        if isinstance(command := about.get("command"), list):
            about["command"] = shlex.join(command)
        row = _without_places({"contender": contender, **about, "values": {**values, **_numbers(about)}})
        self.runs.append(row)
        return row

    def write(self, columns: list[Column], *, reference: str | None = None, remarks: str = "", folder: Path = RESULTS) -> Path:
        """Write the page and the raw runs beside it; with `reference`, also how many times better each contender is than that one."""
        assert self.runs, "nothing was measured"
        machine = hardware()
        stem = f"{self.what}_{machine['name']}_{date.today().isoformat()}"
        folder.mkdir(parents=True, exist_ok=True)
        raw = {"what": self.what, "question": self.question, "hardware": machine, "runs": self.runs}
        (folder / f"{stem}.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
        page = folder / f"{stem}.md"
        page.write_text(self._page(columns, reference, remarks, machine, stem), encoding="utf-8")
        return page

    def _page(self, columns: list[Column], reference: str | None, remarks: str, machine: dict[str, Any], stem: str) -> str:
        contenders = list(dict.fromkeys(run["contender"] for run in self.runs))
        titles = ["contender", "runs"]
        for column in columns:
            titles += [column.title, *([f"times {reference}"] if reference else [])]
        rows = [titles, ["---", *["---:"] * (len(titles) - 1)]]
        for contender in contenders:
            row = [contender, str(sum(run["contender"] == contender for run in self.runs))]
            for column in columns:
                values = self._values(contender, column)
                row.append((spread if column.is_score else summary)(values, column.decimals))
                if reference:
                    row.append(_ratio(values, self._values(reference, column), column))
            rows.append(row)
        commands = dict.fromkeys(run["command"] for run in self.runs if "command" in run)
        parts = [
            f"# {self.question}",
            "\n".join(f"| {' | '.join(row)} |" for row in rows),
            f"Scores: mean ± standard deviation over the runs (lowest to highest); the rest: median (lowest to highest). Every number comes from the runs in `{stem}.json`"
            f" ({', '.join(f'{column.title}: `{column.key}`' for column in columns)}).",
            remarks,
            "## Machine",
            "\n".join(f"- {key}: {value}" for key, value in machine.items()),
            "## Commands" if commands else "",
            "```\n" + "\n".join(commands) + "\n```" if commands else "",
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _values(self, contender: str, column: Column) -> list[float]:
        """The value of every run of a contender that has one."""
        found = [run["values"][column.key] for run in self.runs if run["contender"] == contender and column.key in run["values"]]
        return [statistics.median(value) if isinstance(value, list) else float(value) for value in found]


def run_modelwright(*arguments: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Run a command of Modelwright, with --json, in a folder that is thrown away.

    Returns:
        What it answered; its family, seconds, and the forecast of its test score with whether that held; and the command.

    Raises:
        RuntimeError: it failed, with the end of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "modelwright.cli", *arguments, "--json"]
        began = time.perf_counter()
        done = subprocess.run([*command, "--output", f"{folder}/run"], capture_output=True, text=True, check=False)
        wall = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed with {done.returncode}:\n{done.stderr[-2000:]}")
    answer = json.loads(done.stdout)
    values: dict[str, Any] = {"training_seconds": answer["training_seconds"], "wall_seconds": wall, "family": answer["family"]}
    for row in answer["ledger"]:
        if row["quantity"] == f"test {answer['evaluation']['primary']}" and row["forecast"] is not None:
            values |= {f"forecast_{key}": row[key] for key in ("forecast", "low", "high")}
            values["forecast_held"] = float(row["low"] <= row["measured"] <= row["high"])
    return answer, values, command


def summary(values: list[float], decimals: int) -> str:
    """`median (lowest to highest)`; the value alone if there is one; a dash if there is none."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):.{decimals}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{decimals}f} to {max(values):.{decimals}f})"


def spread(values: list[float], decimals: int) -> str:
    """`mean ± standard deviation (lowest to highest)`, the deviation that of a sample (n - 1); as `summary` if there are fewer than two."""
    if len(values) < 2:
        return summary(values, decimals)
    figures = (statistics.mean(values), statistics.stdev(values), min(values), max(values))
    return "{} ± {} ({} to {})".format(*(f"{figure:.{decimals}f}" for figure in figures))


def _ratio(values: list[float], reference: list[float], column: Column) -> str:
    if not values or not reference:
        return "-"
    better, worse = (reference, values) if column.less_is_better else (values, reference)
    return f"{statistics.median(better) / statistics.median(worse):.2f}"


def _numbers(about: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in about.items() if isinstance(value, int | float)}


def hardware() -> dict[str, Any]:
    """What the numbers depend on: processor, cores that may be used, telling instruction sets, memory, accelerator, versions."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8", errors="replace") if info.exists() else ""
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = set(found.group(1).split()) if (found := re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)) else set()
    processor = model.group(1).strip() if model else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    short = re.sub(r"\((?:R|TM)\)|\bCPU\b|@.*", "", accelerator if accelerator != "none" else processor)
    return {
        "name": f"{re.sub(r'[^a-z0-9]+', '-', short.lower()).strip('-')}-{cores}c",
        "processor": processor,
        "cores": cores,
        "instructions": ", ".join(flag for flag in TELLING_FLAGS if flag in flags),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB" if hasattr(os, "sysconf") else "unknown",
        "accelerator": accelerator,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _without_places(value: Any) -> Any:
    """The same, with names of places of this machine (interpreter, data folder, repository) as anybody would write them."""
    if isinstance(value, dict):
        return {key: _without_places(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_places(inner) for inner in value]
    if not isinstance(value, str):
        return value
    places = {
        os.environ.get("MODELWRIGHT_DATA", ""): "$MODELWRIGHT_DATA",
        sys.executable: "python",
        f"{Path(sys.executable).parent}/": "",
        f"{ROOT}/": "",
    }
    for place, name in places.items():
        if place:
            value = value.replace(place, name)
    return value


def write_page(name: str, question: str, lines: list[str], runs: list[dict[str, Any]]) -> None:
    """Write a page of one's own and its raw runs, for what is no race of contenders."""
    machine = hardware()
    stem = RESULTS / f"{name}_{machine['name']}_{date.today().isoformat()}"
    facts = [f"- {key}: {value}" for key, value in machine.items()]
    text = [f"# {question}", "", *lines, "", "## Machine", "", *facts, ""]
    stem.with_suffix(".md").write_text("\n".join(text), encoding="utf-8")
    raw = {"what": name, "question": question, "hardware": machine, "runs": runs}
    stem.with_suffix(".json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")

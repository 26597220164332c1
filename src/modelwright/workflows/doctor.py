"""`doctor`: what this machine is, and what it is fast at."""

from __future__ import annotations

import os
import platform
import shutil
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.table import Table

from modelwright.core.units import format_bytes
from modelwright.core.version import __version__
from modelwright.workflows.reporter import Reporter

NEEDED = ("torch", "numpy", "safetensors", "pydantic", "PyYAML", "cyclopts", "rich")
OPTIONAL = {
    "scikit-learn": "its data sets, gradient boosting as a baseline",
    "pillow": "image files",
    "tensorboard": "TensorBoard curves",
}
SIZE = 1024
"""Rows of the square matrices whose product is timed."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found. `problems` are sentences with a remedy; an empty tuple means that all is well."""

    facts: dict[str, Any]
    packages: dict[str, str | None]
    gigaflops: dict[str, float]
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it, as one object."""
        return {"facts": self.facts, "packages": self.packages, "gigaflops": self.gigaflops, "problems": list(self.problems)}


def doctor(*, reporter: Reporter | None = None) -> Diagnosis:
    """Look at the machine; takes a second or two and changes nothing."""
    reporter = reporter or Reporter()
    facts = _facts()
    packages = {name: _version(name) for name in (*NEEDED, *OPTIONAL)}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    gigaflops = {name: _gigaflops(getattr(torch, name), device) for name in ("float32", "bfloat16")}
    found = Diagnosis(facts, packages, gigaflops, tuple(_problems(facts, packages)))
    _show(found, reporter)
    return found


def _facts() -> dict[str, Any]:
    disk = shutil.disk_usage(Path.cwd())
    facts = {
        "modelwright": __version__,
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "memory_bytes": _memory(),
        "free_disk_bytes": disk.free,
        "accelerators": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gigaflops(dtype: torch.dtype, device: str) -> float:
    """Median rate of a square matrix product, in GFLOP/s."""
    a = torch.randn(SIZE, SIZE, device=device).to(dtype)
    seconds = []
    for _ in range(8):
        before = time.perf_counter()
        _ = a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - before)
    return round(2 * SIZE**3 / median(seconds[2:]) / 1e9, 1)


def _problems(facts: dict[str, Any], packages: dict[str, str | None]) -> list[str]:
    problems = [f"{name} is missing. Install it with: pip install {name}." for name in NEEDED if packages[name] is None]
    problems += [
        f"{name} is not installed ({use}). Install it with: pip install {name}." for name, use in OPTIONAL.items() if packages[name] is None
    ]
    if facts["free_disk_bytes"] < 1e9:
        problems.append(f"Only {format_bytes(facts['free_disk_bytes'])} of disk are free here. Free some, or use --output elsewhere.")
    if facts["threads"] > facts["cores"]:
        problems.append(f"torch uses {facts['threads']} threads on {facts['cores']} cores. Set OMP_NUM_THREADS={facts['cores']}.")
    return problems


def _show(found: Diagnosis, reporter: Reporter) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for key, value in found.facts.items():
        name = key.removesuffix("_bytes").replace("_", " ")
        shown = (
            format_bytes(value)
            if key.endswith("_bytes") and value
            else ", ".join(value) or "none"
            if isinstance(value, list)
            else str(value)
        )
        table.add_row(name, shown)
    for dtype, rate in found.gigaflops.items():
        table.add_row(f"{dtype} matrix product", f"{rate:,.0f} GFLOP/s")
    table.add_row("packages", ", ".join(f"{name} {number}" for name, number in found.packages.items() if number))
    reporter.show(table)
    for problem in found.problems:
        reporter.say("note", problem)
    if not found.problems:
        reporter.say("ok", "nothing is missing")

"""`doctor`: what this machine is, and what it is fast at."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from modelwright.core.units import format_bytes
from modelwright.core.version import __version__
from modelwright.planning.profile import Profile
from modelwright.training.device_peaks import product_flops
from modelwright.training.machine import prepare_machine
from modelwright.training.profiling import load_profile, measure_profile, save_profile
from modelwright.training.rule import Precision
from modelwright.workflows.here import machine_memory, machine_name, profile_path
from modelwright.workflows.reporter import Reporter, steps_bar

NEEDED = ("torch", "numpy", "safetensors", "pydantic", "PyYAML", "cyclopts", "rich")
OPTIONAL = {
    "scikit-learn": "its data sets, gradient boosting as a baseline",
    "pillow": "image files",
    "tensorboard": "TensorBoard curves",
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found. `problems` are sentences with a remedy; an empty tuple means that all is well."""

    facts: dict[str, Any]
    packages: dict[str, str | None]
    gigaflops: dict[str, float]
    problems: tuple[str, ...]
    profile: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """All of it, as one object."""
        facts = {"facts": self.facts, "packages": self.packages, "gigaflops": self.gigaflops, "problems": list(self.problems)}
        return {**facts, "profile": self.profile}


def doctor(*, profile: bool = False, reporter: Reporter | None = None) -> Diagnosis:
    """Look at the machine; takes a second or two and changes nothing.

    Args:
        profile: measure for a minute what the CPU is fast at, and keep it for plans.
        reporter: whom to tell.
    """
    reporter = reporter or Reporter()
    measured = _measure(reporter) if profile else load_profile(profile_path(), machine_name())
    facts = _facts()
    packages = {name: _version(name) for name in (*NEEDED, *OPTIONAL)}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    formats: tuple[Precision, ...] = ("float32", "bfloat16")
    gigaflops = {name: round(product_flops(name, device) / 1e9, 1) for name in formats}
    found = Diagnosis(facts, packages, gigaflops, tuple(_problems(facts, packages)), _facts_of(measured))
    _show(found, reporter)
    return found


def _measure(reporter: Reporter) -> Profile:
    """Make this machine's profile, and keep it."""
    prepare_machine()
    with steps_bar(reporter, " profile  ") as progress:
        found = measure_profile(machine_name(), progress=progress)
    save_profile(found, profile_path())
    return found


def _facts_of(profile: Profile | None) -> dict[str, Any] | None:
    """What a person may want to know of a profile."""
    if profile is None:
        return None
    return {
        "path": str(profile_path()),
        "when": profile.when,
        "kernels": len({(sample.name, sample.dtype) for sample in profile.samples}),
        "samples": len(profile.samples),
        "flops_per_second": profile.peaks,
        "memory_bytes_per_second": profile.bandwidth,
        "loading_bytes_per_second": profile.loading,
        "overhead_seconds": profile.overhead,
    }


def _facts() -> dict[str, Any]:
    disk = shutil.disk_usage(Path.cwd())
    facts = {
        "modelwright": __version__,
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "processor": machine_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "memory_bytes": machine_memory(),
        "free_disk_bytes": disk.free,
        "accelerators": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }
    return facts


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


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
    if found.profile:
        table.add_row("profile", f"{found.profile['samples']} calls of {found.profile['kernels']} kernels, of {found.profile['when'][:10]}")
        table.add_row("memory bandwidth", f"{found.profile['memory_bytes_per_second'] / 1e9:.1f} GB/s")
        table.add_row("loading", f"{found.profile['loading_bytes_per_second'] / 1e9:.1f} GB/s")
    else:
        table.add_row("profile", "none yet; doctor --profile measures for a minute, and plans tell times better")
    reporter.show(table)
    for problem in found.problems:
        reporter.say("note", problem)
    if not found.problems:
        reporter.say("ok", "nothing is missing")

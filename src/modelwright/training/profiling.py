"""Profiling: what this machine's CPU is fast at, measured in a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch

from modelwright.core.disk import write_atomic
from modelwright.planning.profile import Profile, samples_of
from modelwright.training.device_peaks import probe_cpu
from modelwright.training.references import Timed, references, time_step

COPY_BYTES = 1 << 25
"""Of the copy that the bandwidth is told by: as large as what a step moves, so that a large shared cache may hold it."""
TURNS = 5
SECONDS = 60.0


def measure_profile(machine: str, *, seconds: float = SECONDS, progress: Callable[[int, int], None] = lambda done, of: None) -> Profile:
    """Time the reference steps, as many as the time allows, the ones that tell most first.

    Args:
        machine: its name.
        seconds: for all of it.
        progress: told how many steps of how many are done.
    """
    end = time.perf_counter() + 0.95 * seconds
    profile = rough_profile(machine)
    steps, timed = list(references()), []
    longest = 0.0
    for number, reference in enumerate(steps):
        began = time.perf_counter()
        if began + longest > end:
            break
        timed.append(time_step(reference))
        longest = max(longest, time.perf_counter() - began)
        progress(number + 1, len(steps))
    traces = [each.trace for each in timed]
    return profile.model_copy(update={"samples": samples_of(traces), "overhead": _overhead(timed)})


def _overhead(timed: list[Timed]) -> float:
    """Seconds that a call costs beside its kernel: what whole steps take more than their kernels, by least squares in the calls."""
    calls = [sum(work.calls for work in each.trace.work.values()) for each in timed]
    beside = [each.seconds - sum(work.seconds for work in each.trace.work.values()) for each in timed]
    return max(0.0, sum(c * b for c, b in zip(calls, beside, strict=True)) / max(1.0, sum(c * c for c in calls)))


def rough_profile(machine: str) -> Profile:
    """What can be said within a second: large products of matrices and large copies."""
    source = torch.zeros(COPY_BYTES // 4)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(TURNS):
        began = time.perf_counter()
        target.copy_(source)
        seconds.append(time.perf_counter() - began)
    index = torch.randperm(1 << 12)
    rows = source.view(1 << 12, -1)
    began = time.perf_counter()
    rows.index_select(0, index)
    loading = COPY_BYTES / (time.perf_counter() - began)
    threads = torch.get_num_threads()
    return Profile(
        machine=machine,
        threads=threads,
        samples=[],
        overhead=5e-6,
        peaks={"float32": probe_cpu("float32", threads), "bfloat16": probe_cpu("bfloat16", threads)},
        bandwidth=2 * COPY_BYTES / median(seconds),
        loading=loading,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def save_profile(profile: Profile, path: Path) -> None:
    """Write a profile, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, profile.model_dump_json())


def load_profile(path: Path, machine: str) -> Profile | None:
    """The profile in a file; None where there is none of this machine with as many threads."""
    try:
        profile = Profile.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return profile if (profile.machine, profile.threads) == (machine, torch.get_num_threads()) else None

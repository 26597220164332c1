"""Here: what plans know of this machine; its profile, and how far earlier forecasts were off."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from modelwright.core.run import Run
from modelwright.data.text import cache_folder
from modelwright.planning.machine import CPU_SPREAD, EXAMPLE_SPREAD, Processor
from modelwright.planning.profile import Profile
from modelwright.training.memory import held_bytes
from modelwright.training.profiling import load_profile, rough_profile

REMEMBERED = 40
"""Earlier runs that correct a forecast."""
DOUBT = 2
"""Runs that a correction must outweigh: after so many it is half believed."""
STEP, MEMORY = "step time", "peak memory"
"""The quantities of a run that plans are corrected by."""
WAITING = "waiting"
"""The share of a training's time in which other programs had its processor."""
CROWDED = 0.05
"""Such a share from which on a run's seconds tell nothing of this machine when it is left alone."""


class Past(BaseModel):
    """A forecast of an earlier run on this machine, and its measurement.

    Attributes:
        run: its folder.
        family: of its network.
        device: that it ran on.
        quantity: what was forecast.
        unit: of it.
        forecast: as said then.
        plain: as it would have been said without corrections; None where there are none for this quantity.
        low: of the interval.
        high: of the interval.
        measured: what came true.
        when: ISO 8601.
        profile: when the profile was made by which it was foretold; None without one.
        waiting: share of the training's time in which other programs had its processor; None where the system didn't tell.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    family: str
    device: str
    quantity: str
    unit: str
    forecast: float
    plain: float | None = None
    low: float | None = None
    high: float | None = None
    measured: float
    when: str
    profile: str | None = None
    waiting: float | None = None

    @property
    def tells(self) -> bool:
        """Whether it says something of this machine when it is left alone."""
        return self.measured > 0 and (self.unit != "s" or (self.waiting or 0.0) <= CROWDED)


def machine_name() -> str:
    """What this CPU is called, and the instructions for which PyTorch has kernels: a cloud gives many CPUs one name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def machine_memory() -> int | None:
    """Bytes that this process may have: the machine's, or its container's if that has less; None where the system doesn't tell."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return min([whole, *_container_limits()])


def _container_limits(groups: Path = Path("/proc/self/cgroup"), tree: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Bytes that the control groups allow which this process is in (Linux, cgroups(7), version 2)."""
    limits = []
    with suppress(OSError):
        own = next((line[len("0::/") :] for line in groups.read_text().splitlines() if line.startswith("0::/")), "")
        for group in (tree / own, *(tree / own).parents):
            with suppress(OSError, ValueError):
                limits.append(int((group / "memory.max").read_text()))
    return limits


def profile_path() -> Path:
    """Where the profile of this machine lies."""
    return cache_folder() / "profile.json"


def this_cpu(limit: float | None = None, base: float | None = None) -> Processor:
    """The CPU of this machine, by its profile if one was made, and as earlier runs correct it.

    Args:
        limit: bytes that a training may use; None is all.
        base: bytes that the process holds before it trains; None is what this one holds now.
    """
    name, memory = machine_name(), machine_memory() or 0
    profile: Profile | None = load_profile(profile_path(), name)
    base = held_bytes() if base is None else base
    made = None if profile is None else profile.when
    correction, runs = _correction(STEP, name, made)
    return Processor(
        name=name,
        limit=limit or memory or math.inf,
        base=base,
        profile=profile or rough_profile(name),
        correction=correction,
        memory_correction=_correction(MEMORY, name, made)[0],
        spread=CPU_SPREAD if profile is not None or runs > DOUBT else EXAMPLE_SPREAD,
    )


def past(path: Path | None = None) -> list[Past]:
    """The forecasts of all earlier runs on this machine, the oldest first; lines that can't be read are passed over."""
    path = path or history_path()
    found: list[Past] = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValidationError):
                found.append(Past.model_validate_json(line))
    return found


def history_path() -> Path:
    """Where they lie."""
    return cache_folder() / "ledger.jsonl"


def _correction(quantity: str, device: str, profile: str | None) -> tuple[float, int]:
    """The factor by which forecasts of a quantity were off on a device, drawn to 1 where few tell; and how many tell."""
    rows = [row for row in past() if (row.quantity, row.device, row.profile) == (quantity, device, profile) and row.plain and row.tells]
    rows = rows[-REMEMBERED:]
    if not rows:
        return 1.0, 0
    off = median(math.log(row.measured / row.plain) for row in rows if row.plain)
    return math.exp(off * len(rows) / (len(rows) + DOUBT)), len(rows)


def remember(run: Run, family: str, device: str, plain: dict[str, float]) -> None:
    """Add what a run forecast and measured to the machine's ledger; a folder that can't be written to is passed over.

    Args:
        run: that is done.
        family: of its network.
        device: that it ran on.
        plain: forecasts without corrections, by quantity.
    """
    when = datetime.now(UTC).isoformat(timespec="seconds")
    profile = load_profile(profile_path(), machine_name())
    entries = run.ledger.entries()
    waiting = entries.pop(WAITING, None)
    rows: list[dict[str, Any]] = [
        Past(
            run=str(run.path),
            family=family,
            device=device,
            quantity=entry.quantity,
            unit=entry.unit,
            forecast=entry.forecast,
            plain=plain.get(entry.quantity),
            low=entry.low,
            high=entry.high,
            measured=entry.measured,
            when=when,
            profile=None if profile is None else profile.when,
            waiting=None if waiting is None else waiting.measured,
        ).model_dump()
        for entry in entries.values()
        if entry.forecast is not None and entry.measured is not None
    ]
    with suppress(OSError):
        append_lines(history_path(), rows)


def append_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append rows to a file of JSON lines, all in one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)

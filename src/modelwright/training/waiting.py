"""Waiting: how long this process was ready to compute and had no processor, because other programs were at work."""

from __future__ import annotations

from pathlib import Path


def waited_seconds() -> float | None:
    """Seconds that the calling thread was ready to run and another ran in its place, since it began; None where the system doesn't tell.

    The second number of Linux's `schedstat` (proc_pid_schedstat in the kernel's Documentation/scheduler/sched-stats). On a machine that is
    left alone, a loop with no more threads than processors waits hardly at all.
    """
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None

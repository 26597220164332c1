"""A schedule: how the learning rate goes through a run, as a factor of its base value at each progress in 0..1."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from modelwright.core.config import Config
from modelwright.core.registry import Registry

Schedule = Callable[[float], float]
"""From progress in 0..1 to the factor of the base learning rate."""


class ScheduleConfig(Config):
    """What all schedules share: a linear warmup from 0 to 1, then a course from 1 to `final`.

    As a function of progress and not of steps, a schedule fits every kind of budget.
    """

    name: str
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the run that the warmup takes."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Factor at the end of the run."""

    def course(self, x: float) -> float:
        """The factor at share `x`, in 0..1, of the run after the warmup."""
        raise NotImplementedError

    def build(self) -> Schedule:
        """The function from progress to factor; progress outside 0..1 counts as 0 or 1."""
        warmup, course = self.warmup, self.course

        def factor(progress: float) -> float:
            progress = min(max(progress, 0.0), 1.0)
            if progress < warmup:
                return progress / warmup
            return course((progress - warmup) / (1 - warmup))

        return factor


schedules: Registry[type[ScheduleConfig]] = Registry("schedule", "modelwright.training.schedules")

"""The linear schedule: a warmup, then a straight line down to the final factor."""

from __future__ import annotations

from typing import Literal

from modelwright.training.schedule import ScheduleConfig, schedules


@schedules.register("linear")
class LinearConfig(ScheduleConfig):
    """Factor falling evenly from 1 to `final`."""

    name: Literal["linear"] = "linear"

    def course(self, x: float) -> float:
        """The straight line from 1 to `final`."""
        return 1.0 + (self.final - 1.0) * x

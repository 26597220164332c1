"""The constant schedule: a warmup, then the base learning rate to the end."""

from __future__ import annotations

from typing import Literal

from modelwright.training.schedule import ScheduleConfig, schedules


@schedules.register("constant")
class ConstantConfig(ScheduleConfig):
    """Factor 1 after the warmup."""

    name: Literal["constant"] = "constant"
    final: Literal[1] = 1  # type: ignore[assignment]
    """Always 1."""

    def course(self, x: float) -> float:
        """1 everywhere."""
        return 1.0

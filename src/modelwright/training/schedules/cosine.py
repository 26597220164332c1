"""The cosine schedule: a warmup, then half a cosine wave down to the final factor."""

from __future__ import annotations

import math
from typing import Literal

from modelwright.training.schedule import ScheduleConfig, schedules


@schedules.register("cosine")
class CosineConfig(ScheduleConfig):
    """Factor falling as half a cosine wave from 1 to `final` (SGDR, arXiv:1608.03983, eq. 5, without restarts)."""

    name: Literal["cosine"] = "cosine"

    def course(self, x: float) -> float:
        """Half a cosine wave from 1 to `final`."""
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * x))

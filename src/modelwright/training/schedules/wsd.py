"""The warmup-stable-decay schedule: a warmup, a long plateau, then a line down to the final factor."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from modelwright.core.errors import InputError
from modelwright.training.schedule import ScheduleConfig, schedules


@schedules.register("wsd")
class WarmupStableDecayConfig(ScheduleConfig):
    """Factor 1 until the last `decay` of the run, then linear to `final` (MiniCPM, arXiv:2404.06395, section 4)."""

    name: Literal["wsd"] = "wsd"
    decay: float = Field(default=0.3, gt=0, le=1)
    """Share of the whole run that the decay takes."""

    @model_validator(mode="after")
    def _fits(self) -> WarmupStableDecayConfig:
        if self.warmup + self.decay > 1:
            raise InputError(
                f"a warmup of {self.warmup:g} and a decay of {self.decay:g} are more than the run", expected="a sum of at most 1"
            )
        return self

    def course(self, x: float) -> float:
        """1, then the straight line to `final`."""
        start = 1.0 - self.decay / (1.0 - self.warmup)
        if x <= start:
            return 1.0
        return 1.0 + (self.final - 1.0) * (x - start) / (1.0 - start)

"""A number that is foretold, with the bounds within which it is expected."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """A value, and the ends of its interval; of what probability, says who made it."""

    value: float
    low: float
    high: float

    @classmethod
    def around(cls, value: float, spread: float) -> Range:
        """As much less as more, by ratio."""
        return cls(value, value / (1 + spread), value * (1 + spread))

"""A meter: takes the outputs of a network batch by batch and tells how good they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from modelwright.core.errors import DivergedError, InputError
from modelwright.metrics.estimate import Estimate


class Meter(ABC):
    """Streams over outputs and targets; keeps sums, never the outputs."""

    count: int = 0
    """Number of examples seen."""

    @abstractmethod
    def update(self, output: Tensor, target: Tensor) -> None:
        """Take in a batch: `output` (B, outputs) as the network gives it, and its `target` (B,).

        Raises:
            DivergedError: an output is not a finite number.
        """

    @abstractmethod
    def compute(self) -> dict[str, Estimate]:
        """Every metric that is defined for the examples seen, by name.

        Raises:
            InputError: no example was seen.
        """

    def details(self) -> dict[str, Any]:
        """What is more than one number, ready for JSON."""
        return {}

    def _require_examples(self) -> None:
        if not self.count:
            raise InputError("there is no example to measure on", expected="a split with at least one example")


def require_finite(output: Tensor) -> None:
    """Refuse outputs that are not finite numbers.

    Raises:
        DivergedError: says how many they are.
    """
    wrong = int((~output.isfinite()).any(dim=-1).sum())
    if wrong:
        raise DivergedError(
            f"{wrong} of {len(output)} outputs of the network are not finite numbers; nothing can be measured on them. "
            "Train with a lower learning rate, or in float32."
        )

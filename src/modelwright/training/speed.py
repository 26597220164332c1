"""Speed: examples and tokens a second, share of the device's peak, and the time spent waiting for batches."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from modelwright.core.batch import Batch

_MEMORY = 0.98
"""Share of the sums that a step keeps: the last 50 steps or so count."""


class BatchSource(Protocol):
    """Where batches come from."""

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        ...


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast the last steps were.

    Attributes:
        samples_per_second: examples.
        tokens_per_second: of texts; None for other inputs.
        mfu: model FLOPs utilization (Chowdhery et al. 2022, appendix B): the FLOPs that forward and backward pass need, recomputations not
            counted, as a share of the device's peak; None where either is unknown.
        stall: share of the time that went by until a batch was there.
    """

    samples_per_second: float
    tokens_per_second: float | None
    mfu: float | None
    stall: float

    def to_row(self) -> dict[str, float]:
        """What is known, ready for JSON."""
        row = {
            "samples_per_second": float(f"{self.samples_per_second:.5g}"),
            "tokens_per_second": None if self.tokens_per_second is None else float(f"{self.tokens_per_second:.5g}"),
            "mfu": None if self.mfu is None else round(self.mfu, 4),
            "stall": round(self.stall, 4),
        }
        return {name: value for name, value in row.items() if value is not None}


class Speedometer:
    """Measures steps: a loader's share and the rest. What happens between them (evaluations, hooks) is left out.

    Args:
        flops_per_sample: of forward and backward pass; None where unknown.
        peak: FLOPs a second of the device in the number format of training; None where unknown.
    """

    def __init__(self, flops_per_sample: float | None = None, peak: float | None = None) -> None:
        self._flops, self._peak = flops_per_sample, peak
        self._samples = self._tokens = self._seconds = self._loading = 0.0
        self._began = 0.0

    def load(self, source: BatchSource, step: int) -> Batch:
        """The batch of a step, waited for with a watch in hand."""
        self._began = time.perf_counter()
        batch = source.batch(step)
        self._loading = _MEMORY * self._loading + time.perf_counter() - self._began
        return batch

    def stepped(self, batch: Batch) -> None:
        """The step on the batch that was loaded last is done."""
        tokens = batch.inputs.get("tokens")
        self._seconds = _MEMORY * self._seconds + time.perf_counter() - self._began
        self._samples = _MEMORY * self._samples + batch.size
        self._tokens = _MEMORY * self._tokens + (0 if tokens is None else tokens.numel())

    def read(self) -> Speed | None:
        """The speed of the last steps; None before the first."""
        if not self._seconds:
            return None
        samples = self._samples / self._seconds
        return Speed(
            samples_per_second=samples,
            tokens_per_second=self._tokens / self._seconds if self._tokens else None,
            mfu=samples * self._flops / self._peak if self._flops and self._peak else None,
            stall=self._loading / self._seconds,
        )

"""The profile of a machine: how long kernels take there, learnt from a few small trainings; and what it says of another one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from modelwright.planning.trace import Operation, Trace, Work

NEIGHBORS = 5
"""Measured calls whose deviations from the straight line are taken over, the nearest ones."""
FUSED_SHARE = 0.17
"""Of the bandwidth of a large copy: what kernels that the compiler joins reach on a CPU, about; fitted on ten trainings (LOG.md)."""
DRAW_SECONDS = 18e-9
"""What such a kernel takes to draw a number at random."""


class Sample(NamedTuple):
    """A kernel's call, as measured."""

    name: str
    dtype: str
    flops: float
    read: float
    written: float
    seconds: float


class Profile(BaseModel):
    """What was measured on a machine.

    Attributes:
        machine: what it is.
        threads: that PyTorch used.
        samples: kernels' calls.
        overhead: seconds that a call costs beside its kernel.
        peaks: FLOPs a second of a large product of matrices, by number format.
        bandwidth: bytes a second that a large copy reads and writes.
        loading: examples' bytes a second that a loader gathers.
        when: ISO 8601.
    """

    model_config = ConfigDict(extra="forbid")

    machine: str
    threads: int
    samples: list[Sample]
    overhead: float
    peaks: dict[str, float]
    bandwidth: float
    loading: float
    when: str

    @cached_property
    def _kernels(self) -> dict[tuple[str, str], _Kernel]:
        groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for sample in self.samples:
            groups[sample.name, sample.dtype].append(sample)
        return {key: _Kernel(samples) for key, samples in groups.items()}

    @cached_property
    def _others(self) -> dict[str, _Kernel]:
        """Of kernels that were never measured: all that move memory only, by number format."""
        groups: dict[str, list[Sample]] = defaultdict(list)
        for sample in self.samples:
            if not sample.flops:
                groups[sample.dtype].append(sample)
        return {dtype: _Kernel(samples) for dtype, samples in groups.items()}

    def call_seconds(self, kind: Operation, each: Work) -> float:
        """How long one call of that kind takes here.

        Args:
            kind: the operation.
            each: what one call does.
        """
        # The compiler's kernels are in no profile, which would take too long to make.
        if kind.name == "fused":
            return (each.read + each.written) / (FUSED_SHARE * self.bandwidth)
        if kind.name == "drawn":
            return DRAW_SECONDS * each.written
        kernel = self._kernels.get((kind.name, kind.dtype)) or self._kernels.get((kind.name, "float32"))
        if kernel is not None:
            return kernel.seconds(each)
        if each.flops:
            peak = self.peaks.get(kind.dtype, self.peaks["float32"])
            return each.flops / peak + (each.read + each.written) / self.bandwidth
        other = self._others.get(kind.dtype) or self._others.get("float32")
        return (each.read + each.written) / self.bandwidth if other is None else other.seconds(each)

    def step_seconds(self, trace: Trace) -> float:
        """How long a step of that trace takes here."""
        return sum(
            work.calls * (self.overhead + self.call_seconds(kind, work * (1 / work.calls)))
            for kind, work in trace.work.items()
            if work.calls > 0
        )


class _Kernel:
    """The time of one kernel as a straight line in calls, FLOPs and bytes, and the nearest measurements' deviations from it."""

    def __init__(self, samples: list[Sample]) -> None:
        work = np.array([[1e-6, sample.flops, sample.read + sample.written] for sample in samples])
        seconds = np.array([max(sample.seconds, 1e-7) for sample in samples])
        self._line = _non_negative(work / seconds[:, None], np.ones(len(samples)))
        self._places = _place(work)
        self._deviations = np.log(seconds / np.maximum(work @ self._line, 1e-9))

    def seconds(self, each: Work) -> float:
        work = np.array([[1e-6, each.flops, each.read + each.written]])
        straight = max(float((work @ self._line)[0]), 1e-9)
        distance = np.abs(self._places - _place(work)).sum(1)
        nearest = np.argsort(distance)[:NEIGHBORS]
        weight = 1 / (0.3 + distance[nearest]) ** 2
        # Far from all that was measured the line alone counts.
        trust = 1 / (1 + float(distance[nearest[0]]) ** 2 / 100)
        return straight * math.exp(trust * float((weight * self._deviations[nearest]).sum() / weight.sum()))


def _place(work: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(work[:, 1:], 1.0))


def _non_negative(features: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The least squares solution without negative numbers, by leaving out all subsets of columns (there are few)."""
    from itertools import combinations

    count = features.shape[1]
    best, least = np.zeros(count), math.inf
    scale = np.maximum(np.abs(features).max(0), 1e-300)
    for size in range(1, count + 1):
        for columns in combinations(range(count), size):
            chosen = list(columns)
            found = np.linalg.lstsq(features[:, chosen] / scale[chosen], target, rcond=None)[0] / scale[chosen]
            if (found < 0).any():
                continue
            error = float(((features[:, chosen] @ found - target) ** 2).sum())
            if error < least:
                best, least = np.zeros(count), error
                best[chosen] = found
    return best


def samples_of(traces: Iterable[Trace]) -> list[Sample]:
    """The calls of timed traces, one sample for each kind of operation."""
    return [
        Sample(kind.name, kind.dtype, *(value / work.calls for value in (work.flops, work.read, work.written, work.seconds)))
        for trace in traces
        for kind, work in trace.work.items()
    ]

"""The comparison: what an export gives, in its own runtime, beside what the original gives, on real examples.

B batch, T time, O outputs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelwright.core.batch import IGNORED, Batch
from modelwright.core.errors import InputError
from modelwright.data.split import Split
from modelwright.exporting.portable import Arrays, Portable, raw_inputs
from modelwright.exporting.subject import Subject
from modelwright.exporting.target import Runtime

BATCH = 256
TIMED, TIMED_SECONDS = 30, 2.0
"""Passes from which a latency is told, unless they take longer together."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Median seconds from one example's raw inputs, or its encoded ones, to its outputs.

    Attributes:
        original: of the network in PyTorch, as it is.
        exported: of the export in its runtime, preprocessing included.
    """

    original: float
    exported: float

    @property
    def speedup(self) -> float:
        """How many times as fast the export is."""
        return self.original / self.exported


@dataclass(frozen=True, slots=True)
class Comparison:
    """How near an export comes to the original.

    Attributes:
        examples: how many were compared; of a text, windows.
        tolerance: the largest difference that is let pass, as a share of the largest value of that output, or of 1 if that is less.
        differences: the largest absolute difference of each output.
        largest: the largest absolute value of each output of the original.
        agreement: share of equal predictions: of classes or tokens the likeliest one, of numbers those equal within the tolerance.
        metric: name of the primary metric.
        original: the original's, on these examples.
        exported: the export's, on these examples.
        batch_sizes: in which the export was run.
        lengths: likewise, of texts, in tokens.
    """

    examples: int
    tolerance: float
    differences: dict[str, float]
    largest: dict[str, float]
    agreement: float
    metric: str
    original: float
    exported: float
    batch_sizes: tuple[int, ...]
    lengths: tuple[int, ...] = ()

    @property
    def difference(self) -> float:
        """The largest absolute difference of the first output, which is the network's."""
        return next(iter(self.differences.values()))

    @property
    def exceeding(self) -> str | None:
        """The output whose difference exceeds the tolerance, or None."""
        for name, difference in self.differences.items():
            if not difference <= self.tolerance * max(1.0, self.largest[name]):
                return name
        return None

    def to_json(self) -> dict[str, Any]:
        """All of it, by the names of the attributes."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {
            "batch_sizes": list(self.batch_sizes),
            "lengths": list(self.lengths),
        }


@dataclass
class _Sums:
    """What is gathered while the examples go by."""

    differences: dict[str, float] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    equal: int = 0
    predictions: int = 0

    def add(self, expected: dict[str, Tensor], found: Arrays) -> None:
        """Take in the differences of a pass; what is no number differs infinitely."""
        for name, array in found.items():
            wanted = expected[name].numpy()
            if array.shape != wanted.shape:
                raise InputError(f"the export gives {name} of shape {array.shape}", expected=f"{wanted.shape}")
            apart = np.abs(array.astype(np.float64) - wanted.astype(np.float64)).max(initial=0.0)
            self.differences[name] = max(self.differences.get(name, 0.0), math.inf if np.isnan(apart) else float(apart))
            self.largest[name] = max(self.largest.get(name, 0.0), float(np.abs(wanted).max(initial=0.0)))


def compare(subject: Subject, runtime: Runtime, split: Split, tolerance: float) -> Comparison:
    """Run the examples of a split through the original and through its export, in batches of several sizes and texts of several lengths.

    Args:
        subject: the original.
        runtime: the export.
        split: examples with targets.
        tolerance: see `Comparison`.

    Raises:
        InputError: the export gives outputs of another shape, or there is no example.
    """
    original, sums = Portable(subject).eval(), _Sums()
    meters = subject.task.meter(), subject.task.meter()
    sizes, lengths, examples = dict[int, None](), dict[int, None](), 0
    with torch.inference_mode():
        for batch in _batches(split):
            expected = original.outputs(batch.inputs)
            raw = raw_inputs(subject.schema, batch.inputs)
            found = runtime(raw)
            sums.add(expected, found)
            first = next(iter(expected))
            outputs = expected[first], torch.from_numpy(found[first])
            for meter, output in zip(meters, outputs, strict=True):
                meter.update(output, batch.target)
            equal = _equal(subject, outputs, batch.target, tolerance)
            sums.equal, sums.predictions = sums.equal + int(equal.sum()), sums.predictions + equal.numel()
            examples += batch.size
            sizes[batch.size] = None
            if subject.schema.kind == "text":
                lengths[batch.inputs["tokens"].shape[1]] = None
                for length in _shorter(batch) if len(sizes) <= 2 else ():
                    inputs = {"tokens": batch.inputs["tokens"][:, :length]}
                    sums.add(original.outputs(inputs), runtime(raw_inputs(subject.schema, inputs)))
                    lengths[length] = None
    if not examples:
        raise InputError("there is no example to compare on")
    scores = [meter.compute()[subject.task.primary].value for meter in meters]
    return Comparison(
        examples, tolerance, sums.differences, sums.largest, sums.equal / max(1, sums.predictions), subject.task.primary, *scores,
        tuple(sizes), tuple(lengths),
    )  # fmt: skip


def _batches(split: Split) -> Iterator[Batch]:
    """The examples in order: one, then two, then more at a time, so that no size of a batch is taken for granted."""
    for number, batch in enumerate(split.batches(BATCH)):
        if batch.target is None:
            raise InputError("the examples have no target, so that no metric can be compared", remedy="Give data that has a target")
        # Documents that are packed into one window are an affair of training.
        inputs = {name: tensor for name, tensor in batch.inputs.items() if name != "documents"}
        cuts = [0, 1, 3] if number == 0 else [0]
        for start, stop in zip(cuts, [*cuts[1:], batch.size], strict=True):
            if start < min(stop, batch.size):
                yield Batch({name: tensor[start:stop] for name, tensor in inputs.items()}, batch.target[start:stop])


def _shorter(batch: Batch) -> list[int]:
    """Lengths below that of a batch of texts: half of it, and a single token."""
    length = batch.inputs["tokens"].shape[1]
    return sorted({1, length // 2} - {0, length})


def _equal(subject: Subject, outputs: tuple[Tensor, Tensor], target: Tensor | None, tolerance: float) -> Tensor:
    """Whether each prediction of the original is that of the export."""
    if subject.schema.causal:
        assert target is not None
        return (outputs[0].argmax(-1) == outputs[1].argmax(-1))[target != IGNORED]
    values = [subject.task.predict(output).value for output in outputs]
    if subject.schema.classes:
        return values[0] == values[1]
    scale = abs(values[0]).max().clamp(min=1.0)
    return (values[0] - values[1]).abs() <= tolerance * scale


def time_example(subject: Subject, runtime: Runtime, split: Split) -> Latency:
    """How long the original and the export take for one example, in turns."""
    batch = next(_batches(split))
    raw = raw_inputs(subject.schema, batch.inputs)
    original: list[float] = []
    exported: list[float] = []
    began = time.perf_counter()
    with torch.inference_mode():
        while len(original) < TIMED and (len(original) < 3 or time.perf_counter() - began < TIMED_SECONDS):
            original.append(_seconds(lambda: subject.network(batch.inputs)))
            exported.append(_seconds(lambda: runtime(raw)))
    return Latency(median(original[1:]), median(exported[1:]))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

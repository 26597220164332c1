"""The comparison: what an export gives, in its own runtime, beside what the original gives, on real examples.

B batch, T time, O outputs.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelwright.core.batch import IGNORED, Batch
from modelwright.core.errors import InputError
from modelwright.data.split import Split
from modelwright.exporting.portable import Portable, raw_inputs
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
        return dataclasses.asdict(self) | {"batch_sizes": list(self.batch_sizes), "lengths": list(self.lengths)}


class _Gathered:
    """What is gathered while the examples go by.

    Args:
        subject: the original.
        runtime: its export.
        tolerance: see `Comparison`.
    """

    def __init__(self, subject: Subject, runtime: Runtime, tolerance: float) -> None:
        self.subject, self.runtime, self.tolerance = subject, runtime, tolerance
        self._original = Portable(subject).eval()
        self._meters = subject.task.meter(), subject.task.meter()
        self._differences: dict[str, float] = {}
        self._largest: dict[str, float] = {}
        self._equal, self._predictions, self._examples = 0, 0, 0
        self._sizes: set[int] = set()
        self._lengths: set[int] = set()

    def run(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Run encoded inputs through both; take in how far their outputs are apart, and give the first one of each."""
        expected, found = self._original.outputs(inputs), self.runtime(raw_inputs(self.subject.schema, inputs))
        for name, array in found.items():
            wanted = expected[name].numpy()
            if array.shape != wanted.shape:
                raise InputError(f"the export gives {name} of shape {array.shape}", expected=f"{wanted.shape}")
            apart = np.abs(array.astype(np.float64) - wanted.astype(np.float64)).max(initial=0.0)
            # What is no number differs infinitely.
            self._differences[name] = max(self._differences.get(name, 0.0), math.inf if np.isnan(apart) else float(apart))
            self._largest[name] = max(self._largest.get(name, 0.0), float(np.abs(wanted).max(initial=0.0)))
        first = next(iter(expected))
        if "tokens" in inputs:
            self._lengths.add(inputs["tokens"].shape[1])
        return expected[first], torch.from_numpy(found[first])

    def add(self, batch: Batch) -> None:
        """Take in a batch with targets; of texts some shorter ones too, while batches are small."""
        assert batch.target is not None
        outputs = self.run(batch.inputs)
        for meter, output in zip(self._meters, outputs, strict=True):
            if output.isfinite().all():
                meter.update(output, batch.target)
        equal = self._agree(outputs, batch.target)
        self._equal, self._predictions = self._equal + int(equal.sum()), self._predictions + equal.numel()
        self._examples += batch.size
        self._sizes.add(batch.size)
        if "tokens" in batch.inputs and len(self._sizes) < 3:
            length = batch.inputs["tokens"].shape[1]
            for shorter in {1, length // 2} - {0, length}:
                self.run({"tokens": batch.inputs["tokens"][:, :shorter]})

    def _agree(self, outputs: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        """Whether each prediction of the original is that of the export."""
        if self.subject.schema.causal:
            return (outputs[0].argmax(-1) == outputs[1].argmax(-1))[target != IGNORED]
        original, exported = (self.subject.task.predict(output).value for output in outputs)
        if self.subject.schema.classes:
            return original == exported
        return (original - exported).abs() <= self.tolerance * original.abs().max().clamp(min=1.0)

    def comparison(self) -> Comparison:
        """What was found."""
        primary = self.subject.task.primary
        # Outputs that are no numbers have no score; they are refused anyway.
        original, exported = (meter.compute()[primary].value if meter.count else math.nan for meter in self._meters)
        return Comparison(
            examples=self._examples,
            tolerance=self.tolerance,
            differences=self._differences,
            largest=self._largest,
            agreement=self._equal / max(1, self._predictions),
            metric=primary,
            original=original,
            exported=exported,
            batch_sizes=tuple(sorted(self._sizes)),
            lengths=tuple(sorted(self._lengths)),
        )


def compare(subject: Subject, runtime: Runtime, split: Split, tolerance: float) -> Comparison:
    """Run the examples of a split through the original and through its export, in batches of several sizes and texts of several lengths.

    Args:
        subject: the original.
        runtime: the export.
        split: examples with targets.
        tolerance: see `Comparison`.

    Raises:
        InputError: the export gives outputs of another shape, or there is no example, or one without a target.
    """
    gathered = _Gathered(subject, runtime, tolerance)
    with torch.inference_mode():
        for batch in _batches(split):
            gathered.add(batch)
    return gathered.comparison()


def _batches(split: Split) -> Iterator[Batch]:
    """The examples in order: one, then two, then more at a time, so that no size of a batch is taken for granted."""
    if not len(split):
        raise InputError("there is no example to compare on")
    for number, batch in enumerate(split.batches(BATCH)):
        if batch.target is None:
            raise InputError("the examples have no target, so that no metric can be compared", remedy="Give data that has a target")
        # Documents that are packed into one window are an affair of training.
        inputs = {name: tensor for name, tensor in batch.inputs.items() if name != "documents"}
        cuts = [cut for cut in ((0, 1, 3) if number == 0 else (0,)) if cut < batch.size]
        for start, stop in zip(cuts, [*cuts[1:], batch.size], strict=True):
            yield Batch({name: tensor[start:stop] for name, tensor in inputs.items()}, batch.target[start:stop])


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

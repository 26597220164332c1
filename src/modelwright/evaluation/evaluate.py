"""A measurement: every metric of a predictor on a split, streamed in one pass.

Legend: B batch, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from modelwright.core.batch import Batch
from modelwright.core.errors import InputError
from modelwright.metrics.estimate import Estimate
from modelwright.nn.mode import evaluating
from modelwright.tasks.task import Task

PredictFunction = Callable[[dict[str, Tensor]], Tensor]
"""Takes the inputs of a batch, gives the output (B, O) in the task's output space, as a network does."""
Observer = Callable[[Tensor, Tensor], None]
"""Gets the output and the target of every batch that is judged."""


class Batches(Protocol):
    """A split, as far as evaluating it goes."""

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """The examples in order, `batch_size` at a time."""
        ...


@dataclass(frozen=True)
class Measured:
    """What a predictor was seen to do on a split.

    Attributes:
        estimates: every metric by name, with its interval.
        details: what is more than one number (confusion matrix, calibration bins ...), ready for JSON.
    """

    estimates: dict[str, Estimate]
    details: dict[str, Any] = field(default_factory=dict)


def measure(
    predict: PredictFunction,
    task: Task,
    split: Batches,
    *,
    batch_size: int = 1024,
    replicates: int = 200,
    seed: int = 0,
    observe: Observer | None = None,
) -> Measured:
    """Judge any function that predicts, such as a baseline's.

    Args:
        predict: from inputs to output.
        task: whose meter judges.
        split: with targets.
        batch_size: examples at a time; changes nothing but speed and memory.
        replicates: of the bootstrap that makes the intervals; 0 for values alone, at least 100 for numbers to be shown.
        seed: of the bootstrap.
        observe: looks on.

    Raises:
        DivergedError: an output is not a finite number.
        InputError: the split is empty or has no targets.
    """
    meter = task.meter(replicates=replicates, seed=seed)
    with torch.inference_mode():
        for batch in split.batches(batch_size):
            if batch.target is None:
                raise InputError("the examples have no target, so that nothing can be measured", remedy="Give data that has a target")
            output = predict(batch.inputs)
            meter.update(output, batch.target)
            if observe is not None:
                observe(output, batch.target)
    return Measured(meter.compute(), meter.details())


def evaluate(
    network: nn.Module,
    task: Task,
    split: Batches,
    *,
    batch_size: int = 1024,
    replicates: int = 200,
    seed: int = 0,
    device: torch.device | str | None = None,
    precision: Literal["float32", "bfloat16"] = "float32",
    observe: Observer | None = None,
) -> Measured:
    """Judge a network, in evaluation mode and without gradients; each of its modules gets its own mode back.

    Args:
        network: from inputs to output (B, O).
        task: whose meter judges.
        split: with targets.
        batch_size: examples at a time.
        replicates: of the bootstrap that makes the intervals; 0 for values alone.
        seed: of the bootstrap.
        device: where the network lies; by default where its parameters are.
        precision: what it computes in; the metrics are computed in float64.
        observe: looks on.

    Raises:
        DivergedError: an output is not a finite number.
        InputError: the split is empty or has no targets.
    """
    place = torch.device(device) if device is not None else next((p.device for p in network.parameters()), torch.device("cpu"))

    def predict(inputs: dict[str, Tensor]) -> Tensor:
        with torch.autocast(place.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            return network({name: tensor.to(place, non_blocking=True) for name, tensor in inputs.items()})

    with evaluating(network):
        return measure(predict, task, split, batch_size=batch_size, replicates=replicates, seed=seed, observe=observe)


def as_function(network: nn.Module) -> PredictFunction:
    """The network in evaluation mode, from a batch's inputs to its output on the CPU."""
    network.eval()
    place = next(network.parameters()).device

    def predict(inputs: dict[str, Tensor]) -> Tensor:
        with torch.inference_mode():
            return network({name: tensor.to(place) for name, tensor in inputs.items()}).cpu()

    return predict

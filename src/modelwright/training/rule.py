"""A step rule: *what* a training step does. The supervised one: forward, loss, backward, clip, update, average."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from modelwright.core.batch import Batch
from modelwright.core.errors import DivergedError
from modelwright.core.randomness import derive
from modelwright.tasks.task import LossTask
from modelwright.training.average import WeightAverage
from modelwright.training.objective import Objective, objective_of, penalized_modules
from modelwright.training.optimizer import Optimizer
from modelwright.training.schedule import Schedule

Precision = Literal["float32", "bfloat16"]
READING_SECONDS = 0.2
"""How often an accelerator is waited for, to read the loss; a CPU is read at every step."""


class StepOutcome(NamedTuple):
    """What a step gave.

    Attributes:
        loss: mean of what is lowered, for an example (of a text: for a token), z-loss and penalties included, in this step (on an
            accelerator: in the steps since the last reading).
        grad_norm: length of the whole gradient, before clipping.
        learning_rate: of the first parameter group.
    """

    loss: float
    grad_norm: float
    learning_rate: float


class StepRule(Protocol):
    """What a trainer needs of a step rule: it owns the network, the optimizer and all that a step changes."""

    network: nn.Module

    def step(self, batch: Batch, step: int, start: float, end: float) -> StepOutcome:
        """Update the network by a batch; the step takes the run from progress `start` to `end`.

        Raises:
            DivergedError: the loss or the gradient is no finite number.
        """
        ...

    def evaluation_network(self) -> nn.Module:
        """The network to judge and to ship, in evaluation mode."""
        ...

    def adopt(self, weights: dict[str, Tensor] | None) -> None:
        """End the run: make `weights`, or if None those of the evaluation network, the weights of `network`."""

    def state(self) -> dict[str, Any]:
        """Everything that a step changes, nested, with tensors."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""


class SupervisedRule:
    """Gradient descent on a task's loss.

    Args:
        network: trained in place.
        task: its `objective(network, inputs, target)` gives a sum and a count, divided once for the whole batch.
        optimizer: of the network's parameters; its learning rates are set before every step.
        schedule: factor of the learning rates at each progress.
        seed: dropout draws from a generator keyed by (seed, step).
        precision: `bfloat16` runs the forward pass under autocast.
        clip_norm: longest gradient; None clips nothing.
        accumulation: into how many slices a batch is cut to save memory; the gradient stays that of the whole batch, unless the network
            normalizes over the batch.
        ema: half-life of the weight average, as a share of the run; None averages nothing.
        wrap: makes a faster form of the objective, compiled for example; None leaves it as it is.
    """

    def __init__(
        self,
        network: nn.Module,
        task: LossTask,
        optimizer: Optimizer,
        schedule: Schedule,
        *,
        seed: int,
        precision: Precision = "float32",
        clip_norm: float | None = 1.0,
        accumulation: int = 1,
        ema: float | None = None,
        wrap: Callable[[Objective], Objective] | None = None,
    ) -> None:
        assert accumulation >= 1
        self.network, self._optimizer, self._schedule = network, optimizer, schedule
        self._seed, self._precision, self._clip_norm, self._accumulation = seed, precision, clip_norm, accumulation
        self._penalized = penalized_modules(network)
        objective = objective_of(network, task)
        self._objective = objective if wrap is None else wrap(objective)
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        assert self._parameters, "a network without parameters can't be trained"
        self._device = self._parameters[0].device
        self._average = None if ema is None else WeightAverage(network, half_life=ema)
        self._reading = _Reading()

    def step(self, batch: Batch, step: int, start: float, end: float) -> StepOutcome:
        """Update the network by a batch; the step takes the run from progress `start` to `end`.

        Raises:
            DivergedError: the loss or the gradient is no finite number; the weights are those before the step (on an accelerator, where
                reading is rare, they may be damaged).
        """
        self._seed_dropout(step)
        if not self.network.training:
            self.network.train()
        loss = self._backward(batch if self._device.type == "cpu" else batch.to(self._device))
        for module in self._penalized:
            # A backward pass that recomputes leaves one too; it holds on to a graph, with which no network can be copied.
            module.penalty = None
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))  # pyright: ignore[reportPrivateImportUsage]
        factor = self._schedule(0.5 * (start + end))
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        outcome = self._read(loss, norm, step)
        self._clip(gradients, norm, outcome.grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._average is not None:
            self._average.update(start, end)
        return outcome

    def _seed_dropout(self, step: int) -> None:
        # torch.manual_seed would do, but costs 100 us, as it goes through every kind of device.
        seed = derive(self._seed, "step", step)
        torch.default_generator.manual_seed(seed)
        if self._device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _backward(self, batch: Batch) -> Tensor:
        """Leave the gradient of the batch's mean loss in the parameters, and return that loss."""
        if self._accumulation == 1:
            total, count = self._loss_sum(batch)
            loss = total / count
            loss.backward()
            return loss.detach()
        total, count = 0.0, 0
        for part in slices(batch, self._accumulation):
            part_sum, part_count = self._loss_sum(part)
            # Counts are known only after the last slice: divide by the batch size now, to stay in range, and correct after.
            (part_sum / batch.size).backward()
            total, count = total + part_sum.detach(), count + part_count
        torch._foreach_mul_([p.grad for p in self._parameters if p.grad is not None], batch.size / count)  # pyright: ignore[reportPrivateImportUsage]
        return torch.as_tensor(total / count)

    def _loss_sum(self, batch: Batch) -> tuple[Tensor, Any]:
        assert batch.target is not None, "training needs a target"
        with self._autocast():
            return self._objective(batch.inputs, batch.target)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bfloat16")

    def _read(self, loss: Tensor, norm: Tensor, step: int) -> StepOutcome:
        rate = self._optimizer.param_groups[0]["lr"]
        if self._device.type == "cpu":
            outcome = StepOutcome(loss.item(), norm.item(), rate)
        else:
            outcome = StepOutcome(*self._reading.take(loss, norm), rate)
        if not (math.isfinite(outcome.loss) and math.isfinite(outcome.grad_norm)):
            raise self._diverged(outcome, step)
        return outcome

    def _diverged(self, outcome: StepOutcome, step: int) -> DivergedError:
        what = f"the loss became {outcome.loss}" if not math.isfinite(outcome.loss) else f"the gradient became {outcome.grad_norm}"
        remedies = [f"lower the learning rate (to {float(f'{outcome.learning_rate / 10:.1g}'):g}, say)"]
        remedies += ["set clip_norm: 1.0"] if self._clip_norm is None else []
        remedies += ["use a longer warmup"]
        remedies += ["train with precision: float32"] if self._precision == "bfloat16" else []
        where = f"step {step + 1}" if self._device.type == "cpu" else f"step {step + 1}, or shortly before,"
        return DivergedError(
            f"Training diverged: {what} at {where} with a learning rate of {outcome.learning_rate:.3g}. "
            f"{', or '.join(remedies).capitalize()}; and check the data for extreme values."
        )

    def _clip(self, gradients: list[Tensor], norm: Tensor, known_norm: float) -> None:
        if self._clip_norm is None:
            return
        if self._device.type != "cpu":
            torch._foreach_mul_(gradients, torch.clamp(self._clip_norm / (norm + 1e-6), max=1.0))  # pyright: ignore[reportPrivateImportUsage]
        elif known_norm > self._clip_norm:
            torch._foreach_mul_(gradients, self._clip_norm / (known_norm + 1e-6))  # pyright: ignore[reportPrivateImportUsage]

    def evaluation_network(self) -> nn.Module:
        """The averaged network if there is an average, else the network itself; in evaluation mode."""
        return self._average.network() if self._average is not None else self.network.eval()

    def adopt(self, weights: dict[str, Tensor] | None) -> None:
        """End the run: make `weights`, or if None those of the evaluation network, the weights of `network`."""
        if weights is None and self._average is not None:
            weights = self.evaluation_network().state_dict()
        if weights is not None:
            self.network.load_state_dict(weights)
        self.network.eval()

    def state(self) -> dict[str, Any]:
        """Weights, optimizer and average."""
        return {
            "network": dict(self.network.state_dict()),
            "optimizer": self._optimizer.state_dict()["state"],
            "average": None if self._average is None else self._average.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.network.load_state_dict(state["network"])
        groups = self._optimizer.state_dict()["param_groups"]
        ordered = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        restored = {
            number: {name: _like(value, ordered[number]) for name, value in values.items()} for number, values in state["optimizer"].items()
        }
        self._optimizer.load_state_dict({"state": restored, "param_groups": groups})
        if self._average is not None:
            self._average.load_state(state["average"])


class _Reading:
    """The mean loss of the steps since the last reading of an accelerator, and its last gradient's length; a non-finite one sticks."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._last = (math.inf, math.inf)
        self._when = -math.inf

    def take(self, loss: Tensor, norm: Tensor) -> tuple[float, float]:
        self._losses.append(loss)
        self._norms.append(norm)
        if time.monotonic() - self._when > READING_SECONDS:
            loss_mean, norm_mean = torch.stack([torch.stack(self._losses).mean(), torch.stack(self._norms).mean()]).tolist()
            self._last, self._when = (loss_mean, norm_mean), time.monotonic()
            self._losses, self._norms = [], []
        return self._last


def slices(batch: Batch, number: int) -> list[Batch]:
    """The batch cut into at most `number` parts, as even as can be, in order."""
    number = min(number, batch.size)
    inputs = {name: torch.tensor_split(tensor, number) for name, tensor in batch.inputs.items()}
    targets = [None] * number if batch.target is None else torch.tensor_split(batch.target, number)
    return [Batch({name: parts[n] for name, parts in inputs.items()}, targets[n]) for n in range(number)]


def _like(value: Any, parameter: Tensor) -> Any:
    """A state tensor in the memory layout of its parameter: fused updates go through both in storage order."""
    if isinstance(value, Tensor) and value.shape == parameter.shape and value.dim() > 0:
        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
    return value

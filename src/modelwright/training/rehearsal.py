"""The rehearsal: a training step that is traced, on tensors without values to foretell what it needs, or with values to time its kernels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from modelwright.core.batch import Batch
from modelwright.core.device import has_values
from modelwright.planning.compiled import counted_kernels
from modelwright.planning.trace import Recorder, Trace, typical
from modelwright.tasks.task import LossTask
from modelwright.training.activation_checkpointing import checkpoint_activations
from modelwright.training.compilation import compile_objective
from modelwright.training.config import TrainingConfig
from modelwright.training.rule import StepOutcome, SupervisedRule

STEPS_TIMED = 5
"""Steps over which kernels are timed; of each kind the median counts."""
WARM = 2
"""Steps before them."""


class _RecordedRule(SupervisedRule):
    """The supervised step, which tells a recorder its phases; without values it reads no loss."""

    recorder: Recorder

    def _backward(self, batch: Batch) -> Tensor:
        loss = super()._backward(batch)
        self.recorder.own((p.grad for p in self._parameters if p.grad is not None), "gradients")
        self.recorder.phase = "update"
        return loss

    def _loss_sum(self, batch: Batch) -> tuple[Tensor, Any]:
        self.recorder.phase = "forward"
        found = super()._loss_sum(batch)
        self.recorder.phase, self.recorder.part = "backward", None
        return found

    def _read(self, loss: Tensor, norm: Tensor, step: int) -> StepOutcome:
        if has_values(loss):
            return super()._read(loss, norm, step)
        # Clipping, which a step may have to do, is part of the plan.
        return StepOutcome(0.0, 0.0 if self._clip_norm is None else 2 * self._clip_norm, 0.0)


def rehearse(
    config: TrainingConfig, network: nn.Module, task: LossTask, batch: Batch, *, clock: Callable[[], float] | None = None
) -> Trace:
    """The trace of a step in the middle of a run.

    Args:
        config: without `auto`, but for `compile`, which then is off.
        network: of fake tensors, or of real ones; changed.
        batch: likewise, of the run's batch size.
        clock: times the kernels over several steps.
    """
    assert "auto" not in (config.precision, config.memory_format), "resolve the configuration first"
    if config.activation_checkpointing:
        checkpoint_activations(network)
    rule = _RecordedRule(
        network,
        task,
        config.optimizer.build(network.named_parameters()),
        config.schedule.build(),
        seed=0,
        precision=config.precision,  # type: ignore[arg-type]
        clip_norm=config.clip_norm,
        accumulation=config.accumulation,
        wrap=compile_objective if config.compile is True else None,
    )
    recorder = rule.recorder = Recorder(clock)
    with counted_kernels(recorder) if config.compile is True else _marking(network.head, recorder):  # type: ignore[arg-type]
        return _recorded(rule, recorder, network, batch, config)


@contextmanager
def _marking(head: nn.Module, recorder: Recorder) -> Iterator[None]:
    """Within, all that is made from the head on is of the part `logits`; a loss may take the head's last states only."""
    entries = [name for name in ("forward", "hidden") if hasattr(head, name)]
    for name in entries:
        setattr(head, name, functools.partial(_enter, recorder, getattr(head, name)))
    try:
        yield
    finally:
        for name in entries:
            delattr(head, name)


def _enter(recorder: Recorder, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    recorder.part = "logits"
    return method(*args, **kwargs)


def _recorded(rule: _RecordedRule, recorder: Recorder, network: nn.Module, batch: Batch, config: TrainingConfig) -> Trace:
    timed = recorder.timed
    for step in range(WARM if timed or config.compile is True else 0):
        rule.step(batch, step, 0.4, 0.6)
    with recorder:
        recorder.own(network.parameters(), "parameters")
        recorder.own(network.buffers(), "buffers")
        recorder.own([*batch.inputs.values(), *([] if batch.target is None else [batch.target])], "inputs")
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
        recorder.phase = "update"
        rule._optimizer.step()
        recorder.own((leaf for leaf in tree_iter(rule._optimizer.state_dict()["state"]) if isinstance(leaf, Tensor)), "optimizer")
        rule._optimizer.zero_grad()
        # The average is kept here, as a fake network can't be copied.
        live = [tensor for tensor in network.state_dict().values() if config.ema is not None and tensor.is_floating_point()]
        average = [torch.zeros_like(tensor) for tensor in live]
        recorder.own(average, "average")
        traces = []
        for step in range(STEPS_TIMED if timed else 1):
            recorder.forget()
            rule.step(batch, step, 0.4, 0.6)
            if average:
                torch._foreach_lerp_(average, live, 0.1)  # pyright: ignore[reportPrivateImportUsage]
            traces.append(recorder.trace())
    return typical(traces)

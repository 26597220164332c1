"""A hook: something that watches a run. It gets a read-only `StepInfo`, never the trainer."""

from __future__ import annotations

from dataclasses import dataclass

from modelwright.training.speed import Speed


@dataclass(frozen=True, slots=True)
class StepInfo:
    """Where a run is.

    Attributes:
        step: optimizer steps done.
        total_steps: steps of the whole run, as planned now.
        epoch: passes over the training split done, a fraction.
        progress: share of the run done, in 0..1.
        samples: examples trained on, repetitions counted.
        seconds: time since the start of the run, pauses between sessions not counted.
        loss: mean of what is lowered, for an example (of a text: for a token), in this step (on an accelerator: in the steps since the last
            reading); the z-loss and the penalties of the network's parts are in it, and in no metric.
        learning_rate: of this step, of the first parameter group.
        grad_norm: length of the whole gradient, before clipping.
        metrics: by name, when this is an evaluation; else None.
        primary: the metric that decides; None without evaluations.
        speed: of the last steps; None before the first.
    """

    step: int
    total_steps: int
    epoch: float
    progress: float
    samples: int
    seconds: float
    loss: float
    learning_rate: float
    grad_norm: float
    metrics: dict[str, float] | None = None
    primary: str | None = None
    speed: Speed | None = None


class Hook:
    """Watches a run; a subclass overrides what it needs."""

    def on_start(self, info: StepInfo) -> None:
        """The run starts, or goes on after `info.step` steps."""

    def on_step(self, info: StepInfo) -> None:
        """A step is done."""

    def on_evaluation(self, info: StepInfo) -> None:
        """An evaluation is done; `info.metrics` has its results."""

    def on_end(self, info: StepInfo) -> None:
        """The loop is left, for whatever reason, an error included."""

"""The result of a training: what was measured on the way, and where the best was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StopReason = Literal["budget", "early stopping", "share", "seconds"]
"""Why the loop ended: the budget, or as many passes over the data as the recipe allows, are spent; no gain for long; the asked share or number of seconds is done."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One evaluation during training.

    Attributes:
        step: steps done.
        progress: share of the run done, in 0..1.
        seconds: time since the start of the run, pauses between sessions not counted.
        samples: examples trained on, repetitions counted.
        metrics: by name, of the validation split.
    """

    step: int
    progress: float
    seconds: float
    samples: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training came to.

    Attributes:
        steps: optimizer steps done.
        seconds: time in the loop, evaluations and checkpoints included.
        samples: examples trained on, repetitions counted.
        stop_reason: why it ended.
        best: the evaluation with the best primary metric; None without any.
        history: every evaluation, in order.
        samples_per_second: while training, evaluations and checkpoints not counted.
        train_loss: mean loss of an example over the last steps, exponentially weighted.
    """

    steps: int
    seconds: float
    samples: int
    stop_reason: StopReason
    best: Measurement | None
    history: tuple[Measurement, ...]
    samples_per_second: float
    train_loss: float

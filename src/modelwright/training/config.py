"""How a network is trained, as a recipe says it."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from pydantic import Field

from modelwright.core.config import Config
from modelwright.core.registry import component
from modelwright.core.space import Around
from modelwright.core.units import Budget, BudgetField
from modelwright.data.augmentation import augmentations
from modelwright.training.optimizer import optimizers
from modelwright.training.optimizers.adamw import AdamWConfig
from modelwright.training.schedule import schedules
from modelwright.training.schedules.cosine import CosineConfig

# Outside the class, where the field of the same name would hide the registry.
AugmentationField = component(augmentations)


class TrainingConfig(Config):
    """Budget, optimizer, schedule, and all else that the loop and its step rule need."""

    budget: BudgetField = Budget(60, "seconds")
    """How much may be spent: 90s, 2h, 3 epochs, 500 steps, 10k samples, 1e15 flops."""
    batch_size: Annotated[int, Around(4, doubling=True)] = Field(default=128, ge=1)
    """Examples an update learns from."""
    optimizer: component(optimizers, default="adamw") = AdamWConfig()  # type: ignore[valid-type]
    """How gradients become new weights."""
    schedule: component(schedules, default="cosine") = CosineConfig()  # type: ignore[valid-type]
    """How the learning rate goes through the run."""
    augmentations: tuple[AugmentationField, ...] = ()  # type: ignore[valid-type]
    """What is done to the training inputs, in order, anew in each epoch."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the forward pass; auto measures which one is faster here, and prefers float32."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """Memory layout of convolutions; auto measures which one is faster here."""
    compile: Literal["auto"] | bool = "auto"
    """Whether the network is compiled; auto does it where it pays back within the run."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Longest gradient; a longer one is scaled down."""
    accumulation: int = Field(default=1, ge=1)
    """Slices that a batch is cut to, one after the other, to save memory; the update stays that of the whole batch."""
    activation_checkpointing: bool = False
    """Whether a backbone's blocks forget what they computed and compute it once more in the backward pass: less memory, a third more time."""
    ema: float | None = Field(default=None, gt=0, le=1)
    """Half-life of the averaged weights as a share of the run, so that one value suits every length; 0.02 is a good one."""
    max_epochs: int | None = Field(default=None, ge=1)
    """Most passes over the training split, whatever the budget; the schedule ends with them. For few examples, which a long training learns by heart."""
    evaluations: int = Field(default=20, ge=1)
    """Evaluations on the validation split over the run, the last one at its end."""
    evaluation_share: float = Field(default=0.08, gt=0, le=1)
    """Most of the run that evaluations may take; where they are dear there are fewer of them."""
    early_stopping: int | None = Field(default=None, ge=1)
    """Stop after so many evaluations in a row without a gain."""
    restore_best: bool = True
    """Whether the run ends with the weights of its best evaluation: after early stopping always, else where they beat the last ones by more than chance."""
    checkpoint_interval: float = Field(default=60.0, gt=0)
    """Seconds between two checkpoints."""

    def most_steps(self, steps_per_epoch: int) -> int:
        """The steps after which a run ends although its budget may not be spent."""
        return sys.maxsize if self.max_epochs is None else self.max_epochs * steps_per_epoch

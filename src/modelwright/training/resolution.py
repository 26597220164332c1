"""The resolution of a training configuration: every `auto` replaced by what was measured, and the step rule made of it."""

from __future__ import annotations

import copy

from torch import nn

from modelwright.core.batch import Batch
from modelwright.planning.parametrization import Growths
from modelwright.tasks.task import LossTask
from modelwright.training.activation_checkpointing import checkpoint_activations
from modelwright.training.compilation import choose_compilation, compile_objective
from modelwright.training.config import TrainingConfig
from modelwright.training.precision import arrange, choose_precision
from modelwright.training.rule import SupervisedRule, slices
from modelwright.training.timing import FEWEST, seconds_per_step

PATIENCE, SHORTEST_PATIENCE, LONGEST_PATIENCE = 0.02, 1.0, 5.0
"""Share of the run for measuring what is fastest, and its bounds in seconds."""
TURNS = 10
"""Steps for which that must suffice: two number formats, each once to warm up and four times measured."""


def resolve(
    config: TrainingConfig, network: nn.Module, task: LossTask, batch: Batch, *, seconds: float | None = None, steps: int | None = None
) -> TrainingConfig:
    """The same configuration without any `auto`, fit for the run's recipe, so that a resumed run computes as the first part did.

    Args:
        batch: of the run's batch size; a few real steps are timed on it, or on the first of the slices that it is cut to, or on part of
            that where they are slow, on copies of the network.
        seconds: how long the run takes, where its budget says so.
        steps: how many it takes, where its budget says so.
    """
    if "auto" not in (config.precision, config.memory_format, config.compile):
        return config.replace(optimizer=config.optimizer.resolved(next(network.parameters()).device))
    practice, part = network, slices(batch, config.accumulation)[0]
    if config.activation_checkpointing:
        practice = copy.deepcopy(network)
        checkpoint_activations(practice)
    about = seconds_per_step(practice, task, part, "bfloat16" if config.precision == "bfloat16" else "float32")
    expected = seconds if seconds is not None else (steps or 0) * config.accumulation * about
    patience = min(max(SHORTEST_PATIENCE, PATIENCE * expected), LONGEST_PATIENCE)
    precision, memory_format = choose_precision(
        practice,
        task,
        part.first(max(FEWEST, int(part.size * min(1, patience / TURNS / about)))),
        precisions=("float32", "bfloat16") if config.precision == "auto" else (config.precision,),
        memory_formats=("contiguous", "channels_last") if config.memory_format == "auto" else (config.memory_format,),
        patience=patience,
    )
    compiled = config.compile
    if compiled == "auto":
        compiled = choose_compilation(practice, task, part, precision, expected)
    optimizer = config.optimizer.resolved(next(network.parameters()).device)
    return config.replace(precision=precision, memory_format=memory_format, compile=compiled, optimizer=optimizer)


def build_rule(config: TrainingConfig, network: nn.Module, task: LossTask, seed: int, growths: Growths | None = None) -> SupervisedRule:
    """The supervised step rule of a resolved configuration; the network takes its memory layout.

    Args:
        growths: of the parameters since the network on which the settings were tuned.
    """
    assert config.precision != "auto", "resolve the configuration first"
    assert config.memory_format != "auto", "resolve the configuration first"
    assert config.compile != "auto", "resolve the configuration first"
    arrange(network, config.memory_format)
    if config.activation_checkpointing:
        checkpoint_activations(network)
    # An optimizer that doesn't transfer need not know of growths.
    known = {"growths": growths} if growths else {}
    return SupervisedRule(
        network,
        task,
        config.optimizer.build(network.named_parameters(), **known),
        config.schedule.build(),
        seed=seed,
        precision=config.precision,
        clip_norm=config.clip_norm,
        accumulation=config.accumulation,
        ema=config.ema,
        wrap=compile_objective if config.compile else None,
    )

"""The reference steps: small trainings of all families, whose kernels are timed to learn what a machine is fast at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

from modelwright.core.schema import Schema
from modelwright.core.units import Budget
from modelwright.data.shape import made_up_batch, parse_shape
from modelwright.models.family import FamilyConfig, families
from modelwright.models.network import build_network
from modelwright.planning.trace import Trace
from modelwright.tasks.task import choose_task
from modelwright.training.config import TrainingConfig
from modelwright.training.rehearsal import STEPS_TIMED, rehearse
from modelwright.training.resolution import build_rule
from modelwright.training.rule import Precision

STEPS = 5
"""Steps whose time is taken as a whole, after as many kernels were timed."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A training step: of a family with settings, on data of a shape."""

    shape: str
    family: str
    batch: int
    context: int = 64
    settings: dict[str, Any] = field(default_factory=dict)
    precision: Precision = "float32"
    optimizer: str = "adamw"


@dataclass(frozen=True, slots=True)
class Timed:
    """What a reference step took.

    Attributes:
        trace: of one step, with the seconds of each kind of operation.
        seconds: of the whole step, median.
    """

    trace: Trace
    seconds: float


_TEXT, _WORDS = "shape:text,vocabulary=256", "shape:text,vocabulary=8192"
_DIGITS, _PHOTOS = "shape:image,channels=1,height=28,width=28,classes=10", "shape:image,channels=3,height=32,width=32,classes=100"
_TABLE = "shape:table,numbers=16,categories=8,values=20"


def references() -> Iterator[Reference]:
    """All of them, the ones that tell most first."""
    for precision in ("float32", "bfloat16"):
        yield Reference(_TEXT, "transformer", 8, 128, {"width": 256, "depth": 2, "num_heads": 4}, precision)
        yield Reference(_DIGITS, "cnn", 64, settings={}, precision=precision)
        yield Reference(_TEXT, "lstm", 16, 64, {"width": 256, "depth": 1}, precision)
        yield Reference(_TABLE, "mlp", 256, settings={"width": 512}, precision=precision)
    for precision in ("float32", "bfloat16"):
        yield Reference(_TEXT, "transformer", 16, 64, {"width": 64, "depth": 2, "num_heads": 2}, precision, "muon")
        yield Reference(_WORDS, "transformer", 4, 256, {"width": 512, "depth": 1, "num_heads": 8}, precision)
        yield Reference(_DIGITS, "transformer", 64, settings={"width": 64, "depth": 2}, precision=precision)
        yield Reference(_DIGITS, "transformer", 16, settings={"width": 128, "depth": 2, "num_heads": 4}, precision=precision)
        yield Reference(_PHOTOS, "cnn", 16, settings={"channels": (32, 64, 128), "residual": True}, precision=precision, optimizer="sgd")
        yield Reference(_PHOTOS, "cnn", 128, settings={"channels": (16, 32)}, precision=precision)
        yield Reference(_DIGITS, "lstm", 128, settings={"width": 64, "depth": 2}, precision=precision)
        yield Reference(_DIGITS, "gru", 64, settings={"width": 128, "depth": 1}, precision=precision)
        yield Reference(_WORDS, "lstm", 8, 32, {"width": 512, "depth": 1}, precision, "muon")
        yield Reference(_TABLE, "mlp", 32, settings={"width": 128}, precision=precision, optimizer="muon")
        yield Reference(_DIGITS, "mlp", 1024, settings={"width": 256}, precision=precision, optimizer="sgd")
        yield Reference(_TABLE, "transformer", 128, settings={"width": 64, "depth": 2}, precision=precision)
        yield Reference(_TEXT, "hybrid", 8, 128, {"width": 128}, precision)
        yield Reference(_TEXT, "rnn", 32, 32, {"width": 128}, precision)


def time_step(reference: Reference) -> Timed:
    """Take the steps of a reference, and the time of their kernels. On a CPU."""
    schema = parse_shape(reference.shape, reference.context).schema
    family: FamilyConfig = families[reference.family].model_validate(reference.settings)
    task = choose_task(schema).build(schema)
    config = settings(schema, family, reference)
    with torch.random.fork_rng(()):
        batch = made_up_batch(schema, reference.batch)
        network = build_network(schema, family, task.outputs)
        trace = rehearse(config, network, task, batch, clock=time.perf_counter)
        rule = build_rule(config, network, task, 0)
        seconds = []
        for step in range(STEPS):
            began = time.perf_counter()
            rule.step(batch, step, 0.4, 0.6)
            seconds.append(time.perf_counter() - began)
    each = 1 / STEPS_TIMED
    return Timed(Trace({kind: work * each for kind, work in trace.work.items()}, trace.memory, trace.views * each), median(seconds[1:]))


def settings(schema: Schema, family: FamilyConfig, reference: Reference) -> TrainingConfig:
    """How a reference is trained: nothing is left to be measured."""
    config = TrainingConfig.model_validate(
        {
            "budget": Budget(10, "steps"),
            "batch_size": reference.batch,
            "optimizer": reference.optimizer,
            "precision": reference.precision,
            "compile": False,
            "memory_format": "contiguous",
        }
    )
    return config.replace(optimizer=config.optimizer.resolved(torch.device("cpu")))

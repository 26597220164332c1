"""The reference steps: small trainings of all families, whose kernels are timed to learn what a machine is fast at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import torch

from modelwright.core.device import CPU_KNOWS_BFLOAT16
from modelwright.core.units import Budget
from modelwright.data.shape import made_up_batch, parse_shape
from modelwright.models.family import FamilyConfig, families
from modelwright.models.network import build_network
from modelwright.planning.trace import Trace
from modelwright.tasks.task import choose_task
from modelwright.training.config import TrainingConfig
from modelwright.training.rehearsal import rehearse
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
    """All of them, the ones that tell most first; in bfloat16 too where this CPU has kernels for it."""
    formats: tuple[Precision, ...] = ("float32", "bfloat16") if CPU_KNOWS_BFLOAT16 else ("float32",)
    for row in (*_FIRST, *_SECOND):
        for precision in formats:
            yield replace(row, precision=precision)


def _attention(shape: str, batch: int, context: int, width: int, optimizer: str = "adamw") -> Reference:
    return Reference(
        shape, "transformer", batch, context, {"width": width, "depth": 2, "num_heads": max(2, width // 64)}, optimizer=optimizer
    )


def _grid(shape: str, batch: int, optimizer: str = "adamw", **settings: Any) -> Reference:
    return Reference(shape, "cnn", batch, settings=settings, optimizer=optimizer)


def _plain(shape: str, batch: int, width: int, optimizer: str = "adamw") -> Reference:
    return Reference(shape, "mlp", batch, settings={"width": width}, optimizer=optimizer)


def _memory(family: str, shape: str, batch: int, context: int, width: int, depth: int = 1, optimizer: str = "adamw") -> Reference:
    return Reference(shape, family, batch, context, {"width": width, "depth": depth}, optimizer=optimizer)


_FIRST = (
    _attention(_TEXT, 8, 128, 256),
    _grid(_DIGITS, 64),
    _memory("lstm", _TEXT, 16, 64, 256),
    _plain(_TABLE, 256, 512),
    _attention(_DIGITS, 64, 0, 64),
    _attention(_TEXT, 16, 64, 64, "muon"),
    _grid(_PHOTOS, 16, "sgd", channels=(32, 64, 128), residual=True),
    _memory("lstm", _DIGITS, 128, 0, 64, 2),
    _plain(_DIGITS, 1024, 256, "sgd"),
    _attention(_WORDS, 4, 256, 512),
    _memory("gru", _DIGITS, 64, 0, 128),
    _memory("rnn", _TEXT, 32, 32, 128),
    Reference(_TEXT, "hybrid", 8, 128, {"width": 128}),
    _attention(_TABLE, 128, 0, 64),
)
_SECOND = (
    _grid(_DIGITS, 512),
    _grid(_DIGITS, 16),
    _memory("lstm", _WORDS, 8, 32, 512, optimizer="muon"),
    _plain(_TABLE, 32, 128, "muon"),
    _plain(_TABLE, 2048, 128),
    _plain(_TABLE, 64, 2048),
    _grid(_PHOTOS, 128, channels=(16, 32)),
    _grid(_PHOTOS, 32, channels=(20, 40)),
    _grid(_DIGITS, 128, "sgd", channels=(12, 36, 72)),
    _grid(_PHOTOS, 64, channels=(64, 128), residual=True),
    _attention(_TEXT, 4, 512, 128),
    _attention(_TEXT, 32, 64, 128, "sgd"),
    _attention(_DIGITS, 16, 0, 192),
    _attention(_DIGITS, 256, 0, 64),
    _memory("lstm", _TEXT, 64, 32, 128),
    _memory("lstm", _DIGITS, 512, 0, 128),
    _memory("lstm", _TEXT, 4, 256, 256, 2),
    _attention(_TEXT, 16, 256, 192),
    _memory("gru", _TEXT, 16, 64, 256),
    _memory("lstm", _TEXT, 32, 64, 512),
)


def time_step(reference: Reference) -> Timed:
    """Take the steps of a reference, and the time of their kernels. On a CPU."""
    schema = parse_shape(reference.shape, reference.context).schema
    family: FamilyConfig = families[reference.family].model_validate(reference.settings)
    task = choose_task(schema).build(schema)
    config = _training(reference)
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
    return Timed(trace, median(seconds[1:]))


def _training(reference: Reference) -> TrainingConfig:
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

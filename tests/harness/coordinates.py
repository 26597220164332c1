"""The coordinate check of small networks: how what the parts give changes in a few steps, as a power of the width."""

from __future__ import annotations

import statistics
from math import log
from typing import Any

import torch

from modelwright.core.schema import Schema
from modelwright.data.shape import made_up_batch
from modelwright.models.family import FamilyConfig
from modelwright.models.network import Network, build_network, meta_network
from modelwright.nn.head import HeadConfig
from modelwright.planning.parametrization import Growth
from modelwright.tasks.task import choose_task
from modelwright.training.config import TrainingConfig
from modelwright.training.resolution import build_rule
from modelwright.training.transfer import growths_since, rescale, score_scale
from modelwright.workflows.practice import activations

STEPS, SEEDS = 4, 2


def grown(schema: Schema, base: FamilyConfig, family: FamilyConfig, head: HeadConfig, seed: int) -> tuple[Network, dict[str, Growth]]:
    """A network with fresh weights, as a job makes it, and how it grew."""
    task = choose_task(schema, None).build(schema)
    growths = growths_since(base, family, lambda model: meta_network(schema, model, task.outputs, head=head))
    if schema.causal and head.tied is not False:
        head = head.replace(scale=score_scale(growths["stem.table"]))
    network = build_network(schema, family, task.outputs, head=head, seed=seed)
    rescale(network, growths)
    return network, growths


def changes(schema: Schema, network: Network, optimizer: dict[str, Any], growths: dict[str, Growth] | None, seed: int) -> dict[str, float]:
    """The root mean square of what each part's output changed by after a few steps."""
    task = choose_task(schema, None).build(schema)
    torch.manual_seed(seed)
    batch = made_up_batch(schema, 16)
    settings = {"optimizer": optimizer, "schedule": {"name": "constant", "warmup": 0}, "clip_norm": None}
    plain = {"precision": "float32", "memory_format": "contiguous", "compile": False}
    rule = build_rule(TrainingConfig.model_validate({**settings, **plain}), network, task, seed, growths)
    before = activations(network, batch)
    for step in range(STEPS):
        rule.step(batch, step, 0.5, 0.5)
    after = activations(network, batch)
    return {name: (after[name] - value).square().mean().sqrt().item() for name, value in before.items()}


def slopes(
    schema: Schema,
    base: FamilyConfig,
    optimizer: dict[str, Any],
    *,
    transfer: bool,
    factors: tuple[float, ...] = (1, 2, 4, 8),
    dial: str = "width",
    head: HeadConfig | None = None,
) -> dict[str, float]:
    """The power of the width, or depth, with which each part's change grows; only of parts that all of the networks have."""
    head = head or HeadConfig.model_validate({})
    found: list[dict[str, float]] = []
    for factor in factors:
        family = base.scaled(**{dial: factor})
        each = []
        for seed in range(SEEDS):
            if transfer:
                network, growths = grown(schema, base, family, head, seed)
            else:
                network, growths = (
                    build_network(schema, family, choose_task(schema, None).build(schema).outputs, head=head, seed=seed),
                    None,
                )
            each.append(changes(schema, network, optimizer, growths, seed))
        found.append({name: statistics.fmean(one[name] for one in each) for name in each[0]})
    xs = [log(factor) for factor in factors]
    common = [name for name in found[0] if all(name in one for one in found)]
    return {name: statistics.linear_regression(xs, [log(one[name]) for one in found]).slope for name in common}

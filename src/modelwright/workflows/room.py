"""Room: how a training's blocks of memory are kept on a CPU, the fast way where there is room for its gaps, else the tight one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from modelwright.core.schema import Schema
from modelwright.models.network import Network
from modelwright.planning.layout import Layout
from modelwright.training.machine import give_back, keep_heap, map_blocks
from modelwright.training.memory import used_bytes
from modelwright.workflows.here import machine_memory, this_cpu
from modelwright.workflows.outlook import Outlook
from modelwright.workflows.recipe import Recipe
from modelwright.workflows.tracing import RoughPlan, Subject

PLENTY = 4
"""How many times as much as it keeps for the backward pass a training takes at most, with gradients, workspace and gaps of the heap."""
WEIGHTS = 6
"""The same for weights, with gradients, an optimizer's state, an average and the best ones."""


def make_room(recipe: Recipe, schema: Schema, network: Network, inputs: Mapping[str, Tensor]) -> bool:
    """Arrange this process's memory for a training; whether blocks are mapped one by one, as the heap with its gaps would not fit.

    Does nothing where networks are trained on an accelerator. Only what may come near the machine's memory is planned for this, as that takes time.

    Args:
        recipe: of the training; an undecided number format counts as float32.
        schema: of its data.
        network: that is trained.
        inputs: of a batch.
    """
    memory = machine_memory()
    if torch.cuda.is_available() or memory is None:
        return False
    # What an earlier training left in the heap is no part of this one's need.
    give_back()
    weights = sum(parameter.nbytes for parameter in network.parameters())
    held = max(0, used_bytes() - weights)
    micro = -(-recipe.training.batch_size // recipe.training.accumulation)
    mapped = held + WEIGHTS * weights + PLENTY * micro * kept_bytes(network, inputs) > memory and _short(recipe, schema, memory, held)
    if mapped:
        return map_blocks()
    keep_heap()
    return False


def _short(recipe: Recipe, schema: Schema, memory: int, held: int) -> bool:
    """Whether a plan says that the heap would not fit, or there can be none."""
    if recipe.training.precision == "auto":
        recipe = recipe.replace(training=recipe.training.replace(precision="float32"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RoughPlan)
        try:
            return Outlook(Subject.of(recipe, schema, "cpu"), this_cpu(memory, held), Layout()).memory.mapped
        except Exception:  # a network from outside may do anything when it is traced
            return True


def kept_bytes(network: Network, inputs: Mapping[str, Tensor]) -> int:
    """About what one example's forward pass gives and leaves for its backward pass, in float32; neither weights nor random numbers change."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        # Another tensor, as a graph that keeps its own output keeps itself.
        return tensor.detach()

    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.random.fork_rng(devices=()), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            given = network({name: tensor[:1].clone() for name, tensor in inputs.items()})
    finally:
        for module, training in modes.items():
            module.training = training
    return sum(kept.values()) + given.nbytes

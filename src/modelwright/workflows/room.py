"""Room: how a training's blocks of memory are kept on a CPU, the fast way where there is room for its gaps, else the tight one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from modelwright.core.errors import InputError
from modelwright.core.schema import Schema
from modelwright.models.network import Network
from modelwright.planning.layout import Layout
from modelwright.training.machine import keep_heap, map_blocks
from modelwright.training.memory import used_bytes
from modelwright.workflows.here import machine_memory, this_cpu
from modelwright.workflows.outlook import Outlook
from modelwright.workflows.recipe import Recipe
from modelwright.workflows.tracing import Subject

PLENTY = 4
"""How many times as much as it keeps for the backward pass a training takes at most, with gradients, workspace and gaps of the heap."""
WEIGHTS = 6
"""The same for weights, with gradients, an optimizer's state, an average and the best ones."""


def make_room(recipe: Recipe, schema: Schema, network: Network, inputs: Mapping[str, Tensor]) -> bool:
    """Arrange this process's memory for a training; whether blocks are mapped one by one, as the heap with its gaps would not fit.

    Does nothing where networks are trained on an accelerator. Only what may come near the machine's memory is planned for this, as that takes time.

    Args:
        recipe: of the training.
        schema: of its data.
        network: that is trained.
        inputs: of a batch.
    """
    memory = machine_memory()
    if torch.cuda.is_available() or memory is None:
        return False
    held, weights = used_bytes(), sum(parameter.nbytes for parameter in network.parameters())
    micro = -(-recipe.training.batch_size // recipe.training.accumulation)
    mapped = False
    if held + WEIGHTS * weights + PLENTY * micro * kept_bytes(network, inputs) > memory:
        try:
            mapped = Outlook(Subject.of(recipe, schema, "cpu"), this_cpu(memory, held), Layout()).memory.mapped
        except InputError:
            mapped = True
    (map_blocks if mapped else keep_heap)()
    return mapped


def kept_bytes(network: Network, inputs: Mapping[str, Tensor]) -> int:
    """About what one example's forward pass gives and leaves for its backward pass, in float32; neither weights nor random numbers change."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    training = network.training
    network.eval()
    with torch.random.fork_rng(devices=()), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        given = network({name: tensor[:1] for name, tensor in inputs.items()})
    network.train(training)
    return sum(kept.values()) + given.nbytes

"""Activation checkpointing: the same bits, fewer tensors kept, no trace in copies and weights."""

import copy

import pytest
import torch
from torch import nn

from modelwright.core.batch import Batch
from modelwright.core.errors import InputError
from modelwright.tasks.task import LossTask
from modelwright.training.activation_checkpointing import checkpoint_activations
from modelwright.training.resolution import build_rule


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.4)
        )
        self.penalty = None

    def forward(self, x, scale=None):
        self.penalty = x.square().mean() if self.training else None
        return x + self.layers(x) * (1.0 if scale is None else scale)


class Deep(nn.Module):
    def __init__(self, width=8, depth=6):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Module()
        self.backbone.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.head = nn.Linear(width, 3)

    def forward(self, inputs):
        x = inputs["numbers"]
        for block in self.backbone.blocks:
            x = block(x, scale=torch.tensor(0.5))
        return self.head(x)


class Classification(LossTask):
    def loss(self, output, target):
        return nn.functional.cross_entropy(output, target, reduction="sum"), len(target)


BATCH = Batch({"numbers": torch.randn(16, 8, generator=torch.Generator().manual_seed(1))}, torch.arange(16) % 3)


def steps(workshop, checkpointing, precision="float32"):
    rule = build_rule(workshop.config(activation_checkpointing=checkpointing, precision=precision), Deep(), Classification(), 0)
    return [rule.step(BATCH, step, step / 4, (step + 1) / 4)[:2] for step in range(4)], rule.network


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_steps_are_the_same_to_the_bit_dropout_and_penalties_included(workshop, precision):
    (plain, first), (recomputed, second) = steps(workshop, False, precision), steps(workshop, True, precision)
    assert recomputed == plain
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert list(first.state_dict()) == list(second.state_dict())
    assert [block.penalty for block in copy.deepcopy(second).backbone.blocks] == [None] * 6


def kept(network):
    numbers = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: numbers.append(tensor.numel()) or tensor, lambda tensor: tensor):
        network(BATCH.inputs)
    return sum(numbers)


def test_far_less_is_kept_for_the_backward_pass():
    network = Deep()
    plain = kept(network)
    checkpoint_activations(network)
    assert kept(network) < plain / 8


def test_copies_recompute_on_their_own_weights():
    network = Deep().eval()
    checkpoint_activations(network)
    checkpoint_activations(network)
    twin = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert not twin(BATCH.inputs).any()
    assert network(BATCH.inputs).any()
    assert kept(network) == kept(twin)
    assert isinstance(network.backbone.blocks[0], Block)


def test_a_network_without_blocks_is_refused(workshop):
    with pytest.raises(InputError, match="blocks"):
        workshop.rule(workshop.config(activation_checkpointing=True))

"""Room: when a training's blocks are mapped, and that looking changes nothing."""

import gc
import weakref

import pytest
import torch
from torch import nn

from modelwright.data.shape import made_up_batch, parse_shape
from modelwright.models.network import build_network
from modelwright.workflows import room
from modelwright.workflows.recipe import chosen_recipe
from modelwright.workflows.tracing import Subject

TEXT = "shape:text,vocabulary=300"


@pytest.fixture(params=["float32", "auto"])
def training(request):
    settings = [
        "model.width=32",
        "model.depth=2",
        "model.dropout=0.3",
        "data.context=32",
        "training.batch_size=16",
        f"training.precision={request.param}",
    ]
    recipe = chosen_recipe(TEXT, settings, {"model.family": "transformer"})
    schema = parse_shape(TEXT, 32).schema
    recipe = Subject.of(recipe, schema, "cpu").recipe
    network = build_network(schema, recipe.model, recipe.task.build(schema).outputs, stem=recipe.stem, head=recipe.head)
    return recipe, schema, network, made_up_batch(schema, 16).inputs


@pytest.fixture
def told(monkeypatch):
    seen = []
    monkeypatch.setattr(room, "map_blocks", lambda: seen.append("map") is None)
    monkeypatch.setattr(room, "keep_heap", lambda: seen.append("heap"))
    return seen


def test_blocks_are_mapped_only_where_memory_is_short(training, told, monkeypatch):
    held = room.used_bytes()
    for memory, way in ((held + (8 << 30), "heap"), (held // 2, "map")):
        monkeypatch.setattr(room, "machine_memory", lambda memory=memory: memory)
        assert room.make_room(*training) == (way == "map")
        assert told.pop() == way
    monkeypatch.setattr(room, "machine_memory", lambda: None)
    assert not room.make_room(*training)
    assert told == []


def test_what_is_clearly_enough_is_not_planned(training, told, monkeypatch):
    monkeypatch.setattr(room, "machine_memory", lambda: 1 << 40)
    monkeypatch.setattr(room, "Outlook", None)
    assert not room.make_room(*training)


def test_looking_changes_neither_weights_nor_random_numbers(training):
    _, _, network, inputs = training
    before, state = {name: tensor.clone() for name, tensor in network.state_dict().items()}, torch.get_rng_state()
    network.train()
    kept = room.kept_bytes(network, inputs)
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    # At least the stream of 2 blocks, at most a hundred times as much.
    assert 2 * 32 * 32 * 4 < kept < 100 * 2 * 32 * 32 * 4


class Named(nn.Module):
    """A plain network that reads the input `x`."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 10), nn.Tanh())

    def forward(self, inputs):
        return self.inner(inputs["x"])


def test_weights_are_not_counted_as_kept_and_nothing_is_held_on_to():
    network = Named()
    weight = weakref.ref(network.inner[0].weight)
    assert room.kept_bytes(network, {"x": torch.randn(5, 1000)}) < 12_000
    del network
    gc.collect()
    assert weight() is None


def test_a_network_that_cannot_be_traced_is_taken_to_be_short(training, told, monkeypatch):
    def fails(*given):
        raise TypeError("from outside")

    monkeypatch.setattr(room, "machine_memory", lambda: 1)
    monkeypatch.setattr(room, "Outlook", fails)
    assert room.make_room(*training)

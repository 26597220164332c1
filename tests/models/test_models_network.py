"""Networks: put together, filled, looked into; and errors that say what would fit."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
import torch
from harness.families import SCHEMAS, image, inputs, small
from torch import nn

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.errors import InputError
from modelwright.models.family import Backbone, FamilyConfig, families
from modelwright.models.network import build_network, choose_stem, meta_network
from modelwright.nn.head import HeadConfig
from modelwright.nn.stem import stems


class MixerConfig(FamilyConfig):
    """A family of a user's own."""

    consumes: ClassVar[tuple[Kind, ...]] = ("sequence",)
    stems: ClassVar[tuple[str, ...]] = ("patches",)
    family: Literal["mixer"] = "mixer"

    def build(self, spec: FeatureSpec) -> nn.Module:
        return Mixer(spec)


class Mixer(Backbone):
    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.across = nn.Linear(spec.size[0], spec.size[0])
        self.gives = spec

    def forward(self, features: Features) -> Features:
        return Features(self.across(features.x.transpose(1, 2)).transpose(1, 2))


@pytest.fixture
def mixer(monkeypatch: pytest.MonkeyPatch) -> MixerConfig:
    assert "mixer" not in families
    monkeypatch.setattr(families, "_parts", dict(families.items()))
    return families.register("mixer")(MixerConfig)()


def test_a_family_from_outside_needs_no_edit(mixer: MixerConfig):
    network = build_network(SCHEMAS["grey"], families["mixer"](), 4)
    assert network(inputs(SCHEMAS["grey"])).shape == (5, 4)
    assert network.outputs == 4
    with pytest.raises(InputError, match="family mixer doesn't fit a table"):
        build_network(SCHEMAS["mixed"], mixer, 4)


def test_a_module_that_does_not_say_how_it_starts_is_an_error(mixer: MixerConfig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Mixer, "bias", None, raising=False)
    original = Mixer.__init__

    def with_raw_parameter(self: Mixer, spec: FeatureSpec) -> None:
        original(self, spec)
        self.shift = nn.Parameter(torch.zeros(3))

    monkeypatch.setattr(Mixer, "__init__", with_raw_parameter)
    with pytest.raises(InputError, match="module backbone of type Mixer doesn't say how its weights start"):
        build_network(SCHEMAS["grey"], mixer, 4)


def test_the_meta_network_has_all_shapes_and_no_memory():
    for name in families:
        schema = SCHEMAS["color"]
        planned, built = meta_network(schema, small(name), 3), build_network(schema, small(name), 3)
        assert all(tensor.is_meta for tensor in (*planned.parameters(), *planned.buffers()))
        assert {n: p.shape for n, p in planned.named_parameters()} == {n: p.shape for n, p in built.named_parameters()}
        assert not any(tensor.is_meta for tensor in (*built.parameters(), *built.buffers()))


def test_convolution_weights_are_channels_last_and_everything_else_is_contiguous():
    network = build_network(image(3, 16, 16), small("cnn").replace(hidden=(8,)), 3)
    for parameter in network.parameters():
        assert parameter.is_contiguous(memory_format=torch.channels_last if parameter.ndim == 4 else torch.contiguous_format)


def test_stems_are_chosen_by_the_data():
    chosen = {
        (name, kind): choose_stem(SCHEMAS[kind], small(name)).name
        for name in ("linear", "mlp", "lstm", "transformer")
        for kind in ("grey", "mixed")
    }
    assert chosen == {
        ("linear", "grey"): "flat",
        ("linear", "mixed"): "one_hot",
        ("mlp", "grey"): "flat",
        ("mlp", "mixed"): "columns",
        ("lstm", "grey"): "rows",
        ("lstm", "mixed"): "tokens",
        ("transformer", "grey"): "patches",
        ("transformer", "mixed"): "tokens",
    }


@pytest.mark.parametrize(
    ("schema", "family", "stem", "parts", "fits"),
    [
        ("mixed", "cnn", None, "family cnn doesn't fit a table: it consumes a grid", "gru, hybrid, linear, lstm, mlp, rnn, transformer"),
        ("grey", "mlp", "rows", "stem rows gives a sequence, and the family mlp consumes a vector", "one of the stems flat"),
        ("grey", "lstm", "tokens", "stem tokens reads a table, and the data are an image", "one of the stems patches, rows"),
        ("mixed", "transformer", "grid", "stem grid reads an image, and the data are a table", "one of the stems tokens"),
    ],
)
def test_a_mismatch_names_the_parts_and_what_would_fit(schema: str, family: str, stem: str | None, parts: str, fits: str):
    with pytest.raises(InputError) as error:
        build_network(SCHEMAS[schema], small(family), 3, stem=stems[stem].model_validate({}) if stem else None)
    assert parts in str(error.value)
    assert fits in str(error.value)


def test_a_transformer_learns_positions_only_where_the_order_means_something():
    for schema, learned in (("grey", True), ("mixed", False)):
        names = dict(meta_network(SCHEMAS[schema], small("transformer"), 3).named_parameters())
        assert ("backbone.positions.table" in names) is learned


def test_a_head_that_does_not_fit():
    with pytest.raises(InputError, match="a grid has no last position"):
        build_network(SCHEMAS["grey"], small("cnn").replace(pool="none"), 3, head=HeadConfig(pool="last"))


@torch.no_grad()
def test_activations_are_what_the_parts_give():
    network = build_network(SCHEMAS["grey"], small("lstm"), 3).eval()
    batch = inputs(SCHEMAS["grey"])
    seen = network.activations(batch, ["stem", "backbone", "backbone.layers.1", "head"])
    assert list(seen) == ["stem", "backbone", "backbone.layers.1", "head"]
    assert torch.equal(seen["stem"], batch["image"][:, 0])
    assert torch.equal(seen["backbone.layers.1"][:, -1], seen["backbone"])
    assert torch.equal(seen["head"], network(batch))
    assert not any(module._forward_hooks for module in network.modules())


def test_a_part_that_gives_nothing_by_itself():
    network = build_network(SCHEMAS["grey"], small("transformer"), 3)
    with pytest.raises(InputError, match=r"backbone\.blocks of the network gives nothing by itself"):
        network.activations(inputs(SCHEMAS["grey"]), ["backbone.blocks"])


def test_an_activation_that_is_not_there():
    network = build_network(SCHEMAS["grey"], small("lstm"), 3)
    with pytest.raises(InputError, match=r"no part 'backbon'\. Did you mean backbone\?"):
        network.activations(inputs(SCHEMAS["grey"]), ["stem", "backbon"])
    assert not any(module._forward_hooks for module in network.modules())


@torch.no_grad()
@pytest.mark.parametrize("pool", ["auto", "mean", "max", "flatten"])
def test_heads_pool_what_a_backbone_leaves(pool):
    for name in ("cnn", "gru", "transformer"):
        network = build_network(SCHEMAS["color"], small(name).replace(pool="none"), 3, head=HeadConfig(pool=pool, dropout=0.1))
        assert network(inputs(SCHEMAS["color"])).shape == (5, 3)


def test_a_network_that_no_memory_holds_is_wrong_input():
    with pytest.raises(InputError, match="a network of 100T parameters is too large for the memory"):
        build_network(SCHEMAS["mixed"], families["mlp"](width=10**7, depth=2), 2)

"""What keeps repeats apart, what keeps batch norms from changing anything in training, and a family and a layer from outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Self

import pytest
import torch
from harness.families import SCHEMAS, Case, inputs, small
from harness.growth import EXACT, check_grows, check_learns, grown
from torch import Tensor, nn

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.errors import InputError
from modelwright.core.randomness import generator
from modelwright.growth.channels import NOISE, Channels, Sharing
from modelwright.growth.deepen import places
from modelwright.growth.grower import Grower, growers
from modelwright.growth.network import compare_outputs
from modelwright.growth.widen import widen, widen_map
from modelwright.models.family import Backbone, FamilyConfig, families
from modelwright.models.network import choose_stem


def test_channels_are_repeated_beside_each_other():
    channels = Channels.spread(3, 7)
    assert channels.index.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert channels.counts.tolist() == [3, 3, 3, 2, 2, 2, 2]
    assert not channels.even
    assert Channels.spread(3, 6).even
    assert channels.times(2).index.tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5]
    assert Channels.spread(2, 4).positions(2, last=True).index.tolist() == [0, 1, 0, 1, 2, 3, 2, 3]
    assert Channels.spread(2, 4).positions(2, last=False).index.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    with pytest.raises(InputError, match="nowhere narrower"):
        Channels.spread(4, 3)


def sharing(seed: int, noise: float = NOISE) -> Sharing:
    return Sharing(generator(seed), noise)


def test_shares_sum_to_the_weight_and_differ():
    weight, channels = torch.randn(4, 3, dtype=torch.float64), Channels.spread(3, 7)
    shared = sharing(0)(weight, channels)
    back = torch.zeros(4, 3, dtype=torch.float64).index_add(1, channels.index, shared)
    torch.testing.assert_close(back, weight, atol=1e-14, rtol=0)
    assert (shared[:, 0] - shared[:, 1]).abs().min() > 1e-6
    assert torch.equal(sharing(0)(weight, channels), shared)
    assert not torch.equal(sharing(1)(weight, channels), shared)
    assert torch.equal(sharing(0)(weight, Channels.same(3)), weight)
    torch.testing.assert_close(sharing(0, 0.0)(weight, channels.enlarged(2.0))[:, 3], weight[:, 1] / 4)


def test_what_is_not_live_is_not_read():
    weight = torch.randn(4, 2, dtype=torch.float64)
    channels = Channels.of(torch.tensor([0, 0, 1, 1, 1]), 2, torch.tensor([True, False, True, True, False]))
    shared = sharing(0)(weight, channels)
    assert shared[:, [1, 4]].abs().max() == 0
    torch.testing.assert_close(shared[:, 0], weight[:, 0])
    torch.testing.assert_close(shared[:, 2] + shared[:, 3], weight[:, 1])
    assert not channels.even


def test_further_layers_lie_evenly_between():
    assert places(2, 4) == [(0, True), (0, False), (1, True), (1, False)]
    assert places(2, 3) == [(0, True), (0, False), (1, True)]
    assert places(3, 4) == [(0, True), (0, False), (1, True), (2, True)]
    with pytest.raises(InputError, match="nowhere shallower"):
        places(3, 2)


def _apart(noise: float) -> float:
    """How far two repeats of a hidden unit are apart after some training, as a share of their length."""
    case = Case(small("mlp").replace(dropout=0.0), choose_stem(SCHEMAS["grey"], small("mlp")), SCHEMAS["grey"])
    _, larger = grown(case, width=2, noise=noise)
    network = larger.network.float().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    given, target = inputs(case.schema, 32), torch.arange(32) % 3
    first: Any = network.backbone.layers[0]
    assert torch.equal(first.weight[0::2], first.weight[1::2])
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(given), target).backward()
        optimizer.step()
    return ((first.weight[0::2] - first.weight[1::2]).norm() / first.weight.norm()).item()


def test_repeats_part_in_training_and_would_not_without_noise():
    assert _apart(0.0) < 1e-5
    assert _apart(NOISE) > 0.1


@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_batch_norms_of_further_layers_change_nothing_in_training_either(family: str):
    config = small(family).replace(norm="batch", dropout=0.0)
    case = Case(config, choose_stem(SCHEMAS["grey"], config), SCHEMAS["grey"])
    given = {name: tensor.double() for name, tensor in inputs(case.schema, 32).items()}
    network, larger = grown(case, depth=2)
    # The norms are calibrated with what the old layers give in evaluation, so these stay in it.
    norms = [module for module in larger.network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    seen = larger.network.eval()(given)
    kept = {id(module) for module in norms if (module.bias - module.running_mean).abs().max() > 0}
    further = [module for module in norms if id(module) not in kept]
    assert len(further) == len(norms) // 2
    for module in further:
        module.train()
    torch.testing.assert_close(larger.network(given), seen, atol=1e-9, rtol=0)
    torch.testing.assert_close(network.eval()(given), seen, atol=1e-9, rtol=0)


class GatedConfig(FamilyConfig):
    """A family from outside: one gated layer."""

    consumes: ClassVar[tuple[Kind, ...]] = ("vector",)
    stems: ClassVar[tuple[str, ...]] = ("flat",)
    family: Literal["gated"] = "gated"
    width: int = 6

    def build(self, spec: FeatureSpec) -> Gated:
        """The layer for vectors like `spec`."""
        return Gated(spec.width, self.width)

    def scaled(self, *, width: float = 1, depth: float = 1) -> Self:
        """Wider; it has no depth."""
        return self.replace(width=round(self.width * width))


class Gate(nn.Module):
    """A layer from outside, with a linear map whose halves belong together."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(inputs, 2 * width)

    def forward(self, x_BD: Tensor) -> Tensor:
        """One half, gated by the other."""
        return nn.functional.glu(self.project(x_BD))


class Gated(Backbone):
    """Vector (B, D) -> vector (B, width)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.gives = FeatureSpec("vector", width)
        self.gate = Gate(inputs, width)

    def forward(self, features: Features, cache: Any = None) -> Features:
        """Through the gate."""
        return Features(self.gate(features.x))


@pytest.fixture
def gated() -> Iterator[Case]:
    families.register("gated")(GatedConfig)
    config = GatedConfig()
    yield Case(config, choose_stem(SCHEMAS["grey"], config), SCHEMAS["grey"])
    del families._parts["gated"]
    growers._parts.pop("gated", None)


def test_a_family_from_outside_grows_once_it_says_how(gated: Case):
    with pytest.raises(InputError, match="the family gated can't be grown"):
        grown(gated, width=2)

    @growers.register("gated")
    class GatedGrower(Grower):
        def widen(self, new: Gated, old: Gated, incoming: Channels, share: Sharing) -> Channels:
            return widen(new.gate, old.gate, incoming, share)

    with pytest.raises(InputError, match=r"nobody said how a Gate is widened.*register"):
        grown(gated, width=2)

    @widen.register
    def _gate(new: Gate, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
        assert isinstance(old, Gate)
        outgoing = Channels.spread(old.project.out_features // 2, new.project.out_features // 2)
        widen_map(new.project, old.project, incoming, share, outgoing.times(2))
        return outgoing

    check_grows(gated, width=2.5)
    check_learns(gated, width=2)


def test_other_outputs_are_seen():
    case = Case(small("mlp"), choose_stem(SCHEMAS["grey"], small("mlp")), SCHEMAS["grey"])
    network, larger = grown(case, width=2)
    same = compare_outputs(network, larger.network, [inputs(case.schema, 8), inputs(case.schema, 4)])
    assert same.holds
    assert same.examples == 12
    assert same.difference < EXACT
    with torch.no_grad():
        larger.network.head.linear.bias[0] += 1
    other = compare_outputs(network, larger.network, [inputs(case.schema, 8)])
    assert not other.holds
    assert other.difference == pytest.approx(1)
    assert other.agreement < 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("first", [True, False])
def test_outputs_that_are_no_numbers_are_never_the_same(value: float, first: bool):
    case = Case(small("mlp"), choose_stem(SCHEMAS["grey"], small("mlp")), SCHEMAS["grey"])
    network, larger = grown(case, width=2)
    with torch.no_grad():
        larger.network.head.linear.bias[0] = value
        if first:
            network.head.linear.bias[0] = value
    assert not compare_outputs(network, larger.network, [inputs(case.schema, 8)] * 2).holds

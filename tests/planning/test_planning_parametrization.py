"""Roles and factors of parameters, inferred by comparing shapes, against numbers worked out by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from harness.families import SCHEMAS, SMALL
from torch import nn

from modelwright.core.errors import InputError
from modelwright.models.family import families
from modelwright.models.network import meta_network
from modelwright.nn.head import HeadConfig
from modelwright.planning.parametrization import (
    Factors,
    Growth,
    adam_factors,
    growths,
    initial_growth,
    muon_factors,
    plain_name,
    sgd_factors,
)
from modelwright.training.transfer import growths_since, score_scale

HIDDEN, INPUT, OUTPUT = Growth(4, 4), Growth(1, 4), Growth(4, 1)


def since(name: str, schema: str, head: HeadConfig | None = None, *, settings: dict | None = None, **dials: float) -> dict[str, Growth]:
    """The growths of a small network of a family by some dials."""
    base = families[name].model_validate({**SMALL[name], **(settings or {})})
    outputs = SCHEMAS[schema].text.vocabulary if SCHEMAS[schema].causal else 3
    return growths_since(base, base.scaled(**dials), lambda model: meta_network(SCHEMAS[schema], model, outputs, head=head))


def test_roles():
    assert [growth.role for growth in (HIDDEN, INPUT, OUTPUT, Growth())] == ["hidden", "input", "output", "fixed"]


def test_adam_by_hand():
    assert adam_factors(HIDDEN, decoupled=True) == Factors(0.25, 4, 0.25)
    assert adam_factors(INPUT, decoupled=True) == Factors(1, 1, 0.25)
    assert adam_factors(OUTPUT, decoupled=True) == Factors(0.25, 4, 1)
    assert adam_factors(Growth(1, 4, multiplier=2), decoupled=True) == Factors(0.5, 2, 0.5)
    assert adam_factors(HIDDEN._replace(branches=3), decoupled=True) == Factors(1 / 12, 12, 0.25)
    # A penalty keeps its share of the gradient, which is a quarter; the weights that a step makes are a quarter too, or as they were.
    assert adam_factors(HIDDEN, decoupled=False).weight_decay == 1
    assert adam_factors(INPUT, decoupled=False).weight_decay == 0.25
    assert adam_factors(OUTPUT, decoupled=False).weight_decay == 4


def test_sgd_by_hand():
    assert sgd_factors(HIDDEN) == Factors(1, 1)
    assert sgd_factors(INPUT) == Factors(4, 0.25)
    assert sgd_factors(OUTPUT) == Factors(0.25, 4)


def test_muon_by_hand():
    # A square matrix 4 times as wide: updates of length √64 become √256, and are wanted as they were.
    assert muon_factors(HIDDEN, 256, 64) == Factors(0.5, 2)
    # A layer (256, 28) that was (64, 28): √(256 / 28) is wanted, which the update's length gives by itself.
    assert muon_factors(INPUT, 256, 64) == Factors(1, 1)


def test_initial_sizes_by_hand():
    assert initial_growth(1, 4) == 1
    assert initial_growth(4, 4) == 0.5
    assert initial_growth(4, 1) == 0.25
    for sizes in ((4, 4), (1, 4), (4, 1), (4, 2)):
        assert initial_growth(1 / sizes[0], 1 / sizes[1]) == pytest.approx(1 / initial_growth(*sizes))


def test_names_lose_what_wrappers_add():
    assert plain_name("module._orig_mod.backbone._fsdp_wrapped_module.a._checkpoint_wrapped_module.weight") == "backbone.a.weight"
    assert plain_name("backbone.module.weight") == "backbone.module.weight"


def test_a_tied_transformer():
    found = since("transformer", "text", width=4)
    assert found["stem.table"] == Growth(1, 4, multiplier=2, base_shape=(11, 16))
    assert score_scale(found["stem.table"]) == 0.5
    assert found["backbone.blocks.1.attention.project.weight"] == Growth(4, 4, base_shape=(48, 16))
    assert found["backbone.blocks.0.attention.query_norm.weight"].role == "fixed"
    assert found["backbone.norm.weight"].role == "input"
    assert "output" not in {growth.role for growth in found.values()}


def test_a_table_of_scores_is_an_output_and_one_of_embeddings_an_input():
    found = since("lstm", "text", HeadConfig(tied=False), width=4)
    assert (found["stem.table"].role, found["head.weight"].role) == ("input", "output")
    assert found["stem.table"].initial == pytest.approx(2)
    assert found["head.weight"].initial == pytest.approx(0.5)
    assert score_scale(since("lstm", "text", width=4)["stem.table"]) == 0.25


def test_the_gates_of_a_recurrent_layer():
    found = since("lstm", "grey", width=4)
    first, second = (found[f"backbone.layers.{number}.rnn.weight_ih_l0"] for number in (0, 1))
    assert (first.role, second.role) == ("input", "hidden")
    # The table of initial weights has √(2 / (8 + D)): it falls with the width where it shall not.
    assert first.initial == pytest.approx(math.sqrt((8 + 32) / (8 + 8)))
    assert found["backbone.layers.0.rnn.weight_hh_l0"] == Growth(4, 4, base_shape=(32, 8))
    assert found["head.linear.weight"] == Growth(4, 1, initial=found["head.linear.weight"].initial, base_shape=(3, 8))
    assert found["head.linear.weight"].initial == pytest.approx(0.5)


def test_filters_sum_over_channels():
    found = since("cnn", "color", width=2)
    assert found["backbone.blocks.0.0.weight"] == Growth(1, 2, base_shape=(8, 3, 3, 3))
    assert found["backbone.blocks.1.0.weight"] == Growth(2, 2, base_shape=(8, 8, 3, 3))
    assert found["backbone.blocks.0.1.weight"].role == "input"


def test_positions_columns_and_experts():
    assert since("transformer", "grey", width=2)["backbone.positions.table"].role == "input"
    columns = since("transformer", "mixed", width=2)
    assert {growth.role for name, growth in columns.items() if name.startswith("stem")} == {"fixed"}
    experts = since("transformer", "text", settings={"experts": 3}, width=2)
    layer = "backbone.blocks.0.feedforward."
    assert [experts[layer + name].role for name in ("router.weight", "expand", "output")] == ["output", "hidden", "hidden"]
    hybrid = since("hybrid", "text", width=2)
    assert hybrid["backbone.blocks.0.mixer.convolution.weight"] == Growth(1, 2, base_shape=(4, 16))


def test_what_ends_a_branch_shrinks_with_the_branches():
    found = since("transformer", "text", depth=4)
    output, inside = (found[f"backbone.blocks.5.feedforward.{name}.weight"] for name in ("output", "expand"))
    # 1 / 4 in all, of which the table of initial weights does √(1 / 4) by itself.
    assert (output.branches, output.initial) == (4, pytest.approx(0.5))
    assert (inside.branches, inside.initial) == (1, 1)
    assert found["backbone.blocks.0.attention.output.bias"].branches == 4
    plain = since("mlp", "grey", depth=2)
    assert {growth.branches for growth in plain.values()} == {1}
    # Where the branch ends with a norm, only the norm can shrink it.
    residual = since("cnn", "grey", settings={"residual": True}, depth=2)
    assert residual["backbone.blocks.0.branch.4.weight"] == Growth(branches=2, initial=0.5, base_shape=(8,))
    assert residual["backbone.blocks.0.branch.3.weight"].initial == 1
    unnormed = since("cnn", "grey", settings={"residual": True, "norm": "none"}, depth=2)
    assert unnormed["backbone.blocks.0.branch.3.weight"].branches == 2
    assert since("transformer", "text", settings={"experts": 2}, depth=2)["backbone.blocks.0.feedforward.output"].branches == 2


def test_a_smaller_network_goes_back():
    there, back = since("mlp", "grey", width=4), since("mlp", "grey", settings={"width": 64}, width=0.25)
    for name, growth in there.items():
        assert (1 / back[name].fan_in, 1 / back[name].fan_out) == (growth.fan_in, growth.fan_out)
        assert 1 / back[name].initial == pytest.approx(growth.initial)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_against_itself_nothing_grew(name: str):
    schema = next(schema for schema in ("grey", "mixed", "text") if _reads(name, schema))
    for growth in since(name, schema).values():
        assert growth[:5] == (1, 1, 1, 1, 1)


def _reads(name: str, schema: str) -> bool:
    from modelwright.models.network import can_read

    return can_read(families[name], SCHEMAS[schema]) and not SCHEMAS[schema].causal


class Adapted(nn.Module):
    """A linear map with an adapter of low rank (Hu et al. 2021)."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.down = nn.Linear(linear.in_features, rank, bias=False)
        self.up = nn.Linear(rank, linear.out_features, bias=False)

    def forward(self, x):
        return self.linear(x) + self.up(self.down(x))


def adapted(width: int) -> nn.Module:
    with torch.device("meta"):
        family = families["transformer"].model_validate({**SMALL["transformer"], "width": width, "num_heads": width // 8})
        network = meta_network(SCHEMAS["text"], family, 11)
        for block in network.backbone.blocks:
            block.attention.project = Adapted(block.attention.project, 3)
        return network


def test_adapters_of_low_rank_are_an_output_and_an_input():
    found = growths(adapted(64), adapted(16))
    adapter = "backbone.blocks.0.attention.project."
    assert found[f"{adapter}down.weight"].role == "output"
    assert found[f"{adapter}up.weight"].role == "input"
    assert found[f"{adapter}linear.weight"].role == "hidden"
    # The rate of the second is wanted higher by the width (Hayou et al. 2024, LoRA+, section 3).
    rates = [adam_factors(found[f"{adapter}{name}.weight"], decoupled=True).learning_rate for name in ("down", "up")]
    assert rates == [0.25, 1]


def test_adapters_of_peft():
    peft = pytest.importorskip("peft")

    def wrapped(width: int) -> nn.Module:
        family = families["mlp"].model_validate({**SMALL["mlp"], "width": width})
        network = copy.deepcopy(meta_network(SCHEMAS["grey"], family, 3))
        config = peft.LoraConfig(r=2, target_modules=["backbone.layers.3"])
        with torch.device("meta"):
            return peft.get_peft_model(network, config, low_cpu_mem_usage=True)

    found = growths(wrapped(64), wrapped(16))
    roles = {name.split("layers.3.")[1].removesuffix(".weight"): growth.role for name, growth in found.items() if "layers.3." in name}
    assert roles["lora_A.default"] == "output"
    assert roles["lora_B.default"] == "input"
    assert roles["base_layer"] == "hidden"


def test_a_base_that_differs_in_more_than_sizes_is_refused():
    schema = SCHEMAS["grey"]
    make = lambda **settings: meta_network(schema, families["mlp"].model_validate({**SMALL["mlp"], **settings}), 3)  # noqa: E731
    with pytest.raises(
        InputError, match=r"only one of the model and its base has the parameter backbone\.layers.*differs in its sizes only"
    ):
        growths(make(norm="layer"), make())

"""Every registered family passes the shared check."""

from __future__ import annotations

import pytest
from harness.families import CHECKS, SCHEMAS, SMALL, Case, cases, check_mask, image, inputs, small

from modelwright.core.config import Config, validate
from modelwright.core.errors import InputError
from modelwright.core.registry import component
from modelwright.models.family import FamilyConfig, families
from modelwright.models.network import build_network, choose_stem
from modelwright.nn.stem import stems

CASES = dict(cases())
SEQUENCE_FAMILIES = {
    **{name: small(name) for name, family in families.items() if "sequence" in family.consumes},
    "lstm-bidirectional": small("lstm").replace(bidirectional=True),
    "gru-bidirectional-mean": small("gru").replace(bidirectional=True, pool="mean"),
    "rnn-max": small("rnn").replace(pool="max"),
    "lstm-bidirectional-none": small("lstm").replace(bidirectional=True, pool="none"),
    "transformer-sinusoidal-class": small("transformer").replace(positions="sinusoidal", pool="class"),
    "transformer-rotary-none": small("transformer").replace(positions="rotary", pool="none"),
    "hybrid-causal": small("hybrid").replace(causal=True, positions="rotary"),
    "hybrid-none": small("hybrid").replace(pool="none", pattern=("gru", "attention")),
    "hybrid-convolutions": small("hybrid").replace(pattern=("convolution",), kernel=3),
    "lstm-shortcuts": small("lstm").replace(shortcuts_from=1, depth=3, bidirectional=True),
    "transformer-rms": small("transformer").replace(positions="none", norm="rms"),
}


def test_all_families_and_stems_are_found():
    assert list(families) == ["cnn", "gru", "hybrid", "linear", "lstm", "mlp", "rnn", "transformer"] == sorted(SMALL)
    assert list(stems) == ["columns", "embedding", "flat", "grid", "one_hot", "patches", "rows", "tokens"]
    assert len(CASES) == 2 + 5 * (4 + 3 + 2) + 2 * (2 + 6)
    assert len(SEQUENCE_FAMILIES) == 5 + 11


@pytest.mark.parametrize("check", list(CHECKS))
@pytest.mark.parametrize("case", list(CASES))
def test_family(case: str, check: str):
    CHECKS[check](CASES[case])


@pytest.mark.parametrize("name", list(SEQUENCE_FAMILIES))
def test_padding_changes_nothing(name: str):
    check_mask(SEQUENCE_FAMILIES[name])


@pytest.mark.parametrize("name", list(families))
@pytest.mark.parametrize("schema", [image(1, 8, 8), image(1, 28, 28), image(3, 32, 32), SCHEMAS["mixed"]], ids=str)
def test_defaults_work_on_what_a_family_suits(name: str, schema):
    family = families[name].model_validate({})
    assert set(family.suits) <= {"image", "table", "text"}
    if schema.kind in family.suits:
        assert build_network(schema, family, 3)(inputs(schema, 2)).shape == (2, 3)


VARIANTS = [
    small("mlp").replace(residual=True, norm="batch", depth=2),
    small("mlp").replace(norm="layer", activation="tanh"),
    small("mlp").replace(norm="batch", activation="silu"),
    small("cnn").replace(residual=True, blocks=2),
    small("cnn").replace(residual=True, norm="group", activation="silu", pool="max"),
    small("cnn").replace(norm="layer", blocks=2, pool="flatten", hidden=(8, 8)),
    small("cnn").replace(norm="none", activation="gelu", pool="none"),
    small("cnn").replace(padding="valid", blocks=2, downsample=(1, 1, 2)),
    small("lstm").replace(bidirectional=True),
    small("gru").replace(pool="max", depth=1),
    small("gru").replace(pool="mean", depth=3, shortcuts_from=2),
    small("transformer").replace(pool="class", positions="rotary"),
    small("hybrid").replace(pattern=("attention", "rnn"), norm="rms", activation="swiglu", dropout=0.1),
    small("lstm").replace(locked=True, weight_dropout=0.3, input_dropout=0.1, output_dropout=0.1, pool="none"),
    small("transformer").replace(norm="rms", positions="sinusoidal", pool="none", dropout=0.1),
]


@pytest.mark.parametrize("family", VARIANTS, ids=str)
def test_settings_other_than_the_defaults(family: FamilyConfig):
    case = Case(family, choose_stem(SCHEMAS["grey"], family), SCHEMAS["grey"])
    for check in CHECKS.values():
        check(case)


def test_a_family_is_chosen_by_name_in_a_recipe():
    class Recipe(Config):
        model: component(families, key="family")  # type: ignore[valid-type]

    assert validate(Recipe, {"model": "lstm"}).model == families["lstm"]()
    chosen = validate(Recipe, {"model": {"family": "cnn", "channels": [4, 8], "hidden": [3]}})
    assert chosen.model == families["cnn"](channels=(4, 8), hidden=(3,))
    assert validate(Recipe, chosen.model_dump()) == chosen


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("transformer", {"width": 65}, "the width 65 is no multiple of the 2 heads"),
        ("transformer", {"width": 12, "num_heads": 4, "positions": "rotary"}, "heads of even width, and these are 3 wide"),
        ("cnn", {"kernel": 4}, "the kernel is 4 wide; expected an odd number"),
        ("cnn", {"downsample": (2, 2)}, "downsample has 2 factors for 3 stages"),
        ("cnn", {"residual": True, "padding": "valid"}, "residual blocks keep the size"),
        ("cnn", {"pool": "none", "hidden": (8,)}, "hidden layers need a vector"),
        ("cnn", {"channels": (8, 0, 8)}, "must be positive"),
        ("mlp", {"widht": 8}, "Did you mean width?"),
        ("mlp", {"depth": 0}, "depth: input should be greater than 0"),
    ],
)
def test_settings_that_can_not_be(name: str, values: dict, message: str):
    with pytest.raises(InputError) as error:
        validate(families[name], values)
    assert message in str(error.value)


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("dial", ["width", "depth"])
def test_a_dial_must_be_positive(dial: str, factor: float):
    for name in set(families) - {"linear"}:
        with pytest.raises(InputError, match=f"the {dial} factor is"):
            small(name).scaled(**{dial: factor})

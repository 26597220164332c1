"""Every family that grows gives the same outputs, with every setting that it has; and what can't is refused."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from harness.families import SCHEMAS, Case, cases, small
from harness.growth import check_grows, check_learns, grown

from modelwright.core.errors import InputError
from modelwright.growth.families.hybrid import HybridGrower
from modelwright.growth.families.transformer import TransformerGrower
from modelwright.growth.grower import growers
from modelwright.models.family import FamilyConfig, families
from modelwright.models.network import choose_stem
from modelwright.nn.head import HeadConfig
from modelwright.nn.stem import stems

CASES = {name: case for name, case in cases() if case.family.family != "linear"}


def case_of(family: FamilyConfig, schema: str) -> Case:
    """A family on data, by its preferred stem."""
    return Case(family, choose_stem(SCHEMAS[schema], family), SCHEMAS[schema])


def test_all_families_but_linear_grow():
    assert set(growers) == set(families) - {"linear"}
    with pytest.raises(InputError, match="the family linear can't be grown; expected a run of cnn, gru"):
        grown(case_of(small("linear"), "grey"), width=2)


@pytest.mark.parametrize("name", list(CASES))
def test_outputs_stay_the_same(name: str):
    check_grows(CASES[name], width=2, depth=2)


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith(("-grey", "-numbers", "-text"))])
def test_every_parameter_learns(name: str):
    check_learns(CASES[name], width=2, depth=2)


MLPS = [{"residual": r, "norm": n, "activation": a} for r, n, a in product((False, True), ("none", "batch", "layer"), ("relu", "gelu"))]
CNNS = [
    {"residual": r, "norm": n, "activation": a, "pool": p, "hidden": () if p == "none" else (8, 6), "blocks": 1}
    for (r, n, a), p in zip(
        product((False, True), ("none", "batch", "layer", "group"), ("relu", "gelu")), ["flatten", "mean", "max", "none"] * 4, strict=True
    )
]
VALID = {"padding": "valid", "blocks": 2, "downsample": (1, 1, 2)}
RECURRENT = [{"bidirectional": b, "pool": p, "dropout": 0.3} for b, p in product((False, True), ("last", "mean", "max", "none"))]
TRANSFORMERS: list[dict[str, Any]] = [
    {"positions": "rotary", "norm": "layer", "qk_norm": True},
    {"positions": "rotary", "norm": "rms", "qk_norm": True, "num_kv_heads": 1},
    {"positions": "rotary", "qk_norm": False, "activation": "swiglu", "bias": False},
    {"positions": "none", "qk_norm": False, "num_kv_heads": 1, "embedding_scale": 1.0},
    {"positions": "none", "qk_norm": True, "norm": "rms", "bias": False, "activation": "relu2"},
    {"positions": "learned", "qk_norm": False, "experts": 3, "activation": "swiglu"},
    {"positions": "learned", "qk_norm": True, "experts": 3, "experts_per_token": 1, "window": 4},
    {"positions": "alibi", "qk_norm": True, "activation": "gelu_tanh"},
    {"positions": "alibi", "qk_norm": False, "num_kv_heads": 1, "window": 5, "dropout": 0.2},
]
HYBRIDS: list[dict[str, Any]] = [
    {"pattern": ("attention", "rnn"), "norm": "rms", "activation": "swiglu"},
    {"pattern": ("convolution", "gru", "attention"), "positions": "rotary"},
    {"pattern": ("lstm",), "depth": 2},
]


@pytest.mark.parametrize("settings", MLPS, ids=str)
def test_mlp(settings: dict[str, Any]):
    case = case_of(small("mlp").replace(**settings), "grey")
    check_grows(case, width=2)
    if settings["residual"] or (settings["activation"] == "relu" and settings["norm"] != "layer"):
        check_grows(case, width=2, depth=1.5)
        return
    with pytest.raises(InputError, match=r"can't pass on what comes in.*Grow the width alone"):
        grown(case, depth=2)


@pytest.mark.parametrize("settings", [*CNNS, VALID], ids=str)
def test_cnn(settings: dict[str, Any]):
    case = case_of(small("cnn").replace(**settings), "color")
    check_grows(case, width=2)
    plain = not settings.get("residual", False)
    if settings.get("activation", "relu") == "relu" and (not plain or settings.get("norm", "batch") in ("none", "batch")):
        check_grows(case, width=2, depth=2)
        return
    with pytest.raises(InputError, match=r"can't pass on what comes in.*Grow the width alone"):
        grown(case, depth=2)


@pytest.mark.parametrize("settings", RECURRENT, ids=str)
@pytest.mark.parametrize("family", ["rnn", "gru", "lstm"])
def test_recurrent(family: str, settings: dict[str, Any]):
    check_grows(case_of(small(family).replace(**settings), "grey"), width=1.5, depth=1.5)


def test_a_recurrent_network_grows_again():
    case = case_of(small("lstm"), "text")
    _, once = grown(case, depth=2)
    assert once.family.shortcuts_from == 2
    check_grows(case_of(once.family, "text"), depth=1.5, width=2)


@pytest.mark.parametrize("settings", TRANSFORMERS, ids=str)
def test_transformer(settings: dict[str, Any]):
    check_grows(case_of(small("transformer").replace(**settings), "text"), width=2, depth=1.5)


@pytest.mark.parametrize("settings", TRANSFORMERS, ids=str)
def test_transformer_with_more_heads(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    family = small("transformer").replace(**{**settings, "num_heads": 4, "num_kv_heads": settings.get("num_kv_heads") and 2})
    wider = {"width": 32, "num_heads": 8, "num_kv_heads": family.num_kv_heads and 4}
    monkeypatch.setattr(TransformerGrower, "wider", lambda self, config, width: config.replace(**wider))
    check_grows(case_of(family, "text"), width=2)
    check_learns(case_of(family, "text"), width=2)


@pytest.mark.parametrize(("heads", "keys"), [((4, 2), (8, 2)), ((4, 4), (16, 8)), ((2, 1), (6, 1)), ((2, 2), (4, 4))])
def test_heads_and_keys_in_any_proportion(heads: tuple[int, int], keys: tuple[int, int], monkeypatch: pytest.MonkeyPatch):
    family = small("transformer").replace(num_heads=heads[0], num_kv_heads=heads[1], positions="rotary", width=16)
    wider = family.replace(width=48 if keys[0] == 6 else 64, num_heads=keys[0], num_kv_heads=keys[1])
    monkeypatch.setattr(TransformerGrower, "wider", lambda self, config, width: wider)
    check_grows(case_of(family, "text"), width=4)


def test_heads_that_come_to_share_keys_are_refused(monkeypatch: pytest.MonkeyPatch):
    family = small("transformer").replace(num_heads=4, positions="alibi", width=16)
    monkeypatch.setattr(TransformerGrower, "wider", lambda self, config, width: config.replace(width=32, num_heads=8, num_kv_heads=2))
    with pytest.raises(InputError, match="heads part that share keys"):
        grown(case_of(family, "text"), width=2)


@pytest.mark.parametrize("pool", ["class", "mean", "none"])
@pytest.mark.parametrize("positions", ["auto", "rotary", "alibi"])
def test_transformer_of_images(positions: str, pool: str):
    check_grows(case_of(small("transformer").replace(positions=positions, pool=pool), "grey"), width=2, depth=2)


@pytest.mark.parametrize("settings", HYBRIDS, ids=str)
@pytest.mark.parametrize("schema", ["grey", "text"])
def test_hybrid(settings: dict[str, Any], schema: str, monkeypatch: pytest.MonkeyPatch):
    case = case_of(small("hybrid").replace(**settings), schema)
    check_grows(case, width=2, depth=5 / 3)
    monkeypatch.setattr(HybridGrower, "wider", lambda self, config, width: config.replace(width=32, num_heads=4))
    check_grows(case, width=2)


@pytest.mark.parametrize("head", [HeadConfig(tied=False), HeadConfig(bias=True, softcap=2.0)], ids=str)
@pytest.mark.parametrize("width", [None, 5, 16])
@pytest.mark.parametrize("family", ["gru", "lstm", "transformer", "hybrid"])
def test_heads_and_tables_of_texts(family: str, width: int | None, head: HeadConfig):
    stem = stems["embedding"].model_validate({"width": width})
    check_grows(Case(small(family).replace(width=16), stem, SCHEMAS["text"]), width=2, depth=2, head=head)


@pytest.mark.parametrize(("family", "width"), [("mlp", 1.5), ("cnn", 1.5), ("lstm", 3.5), ("gru", 2.5)])
def test_factors_that_are_no_whole_numbers(family: str, width: float):
    check_grows(case_of(small(family), "grey"), width=width)


@pytest.mark.parametrize(
    ("family", "settings", "schema", "factors", "message"),
    [
        ("transformer", {}, "text", {"width": 1.5}, "16 channels can't become 24.*--width 2"),
        ("hybrid", {}, "grey", {"width": 1.5}, "16 channels can't become 24.*--width 2"),
        ("mlp", {"norm": "layer"}, "grey", {"width": 1.5}, "16 channels can't become 24.*--width 2"),
        ("cnn", {"norm": "group", "channels": (12,)}, "grey", {"width": 2}, "12 channels in 6 groups can't become 24 in 8"),
        ("transformer", {"positions": "sinusoidal"}, "text", {"width": 2}, "sinusoidal positions are other numbers"),
        ("lstm", {}, "grey", {"width": 0.5}, "the width factor is 0.5; expected at least 1"),
        ("lstm", {}, "grey", {"depth": 0.5}, "the depth factor is 0.5; expected at least 1"),
        ("lstm", {}, "grey", {"width": float("nan")}, "the width factor is nan"),
        ("mlp", {}, "grey", {"width": float("inf")}, "the width factor is inf"),
    ],
)
def test_what_can_not_be(family: str, settings: dict[str, Any], schema: str, factors: dict[str, float], message: str):
    with pytest.raises(InputError, match=message):
        grown(case_of(small(family).replace(**settings), schema), **factors)


def test_sinusoidal_positions_grow_in_depth():
    check_grows(case_of(small("transformer").replace(positions="sinusoidal"), "text"), depth=2)

"""The transfer of hyperparameters: with a base as large as the model nothing changes; else parts move alike at every width."""

from __future__ import annotations

import copy

import pytest
import torch
from harness.coordinates import grown, slopes
from harness.families import SCHEMAS, SMALL, image, text
from torch import nn

from modelwright.core.errors import InputError
from modelwright.data.shape import made_up_batch
from modelwright.models.family import families
from modelwright.models.network import build_network, meta_network
from modelwright.nn.head import HeadConfig
from modelwright.planning.parametrization import Growth
from modelwright.tasks.task import choose_task
from modelwright.training.config import TrainingConfig
from modelwright.training.optimizer import optimizers
from modelwright.training.resolution import build_rule
from modelwright.training.transfer import TransferConfig, differing, growths_since, rescale, summary

IMAGES, TEXT = image(1, 8, 8), text(24, 12)
BASES = {
    "mlp": (IMAGES, {"width": 32, "dropout": 0.0}),
    "cnn": (IMAGES, {"channels": (8, 16), "blocks": 1}),
    "lstm": (IMAGES, {"width": 32, "dropout": 0.0}),
    "transformer": (TEXT, {"width": 32, "depth": 2, "num_heads": 4}),
    "hybrid": (TEXT, {"width": 32, "depth": 3, "num_heads": 2}),
}
ADAMW = {"name": "adamw", "learning_rate": 0.004}


def base_of(name: str):
    schema, settings = BASES[name]
    return schema, families[name].model_validate(settings)


@pytest.mark.parametrize("name", ["mlp", "cnn", "lstm", "transformer"])
def test_parts_move_alike_at_every_width_and_without_transfer_they_dont(name: str):
    schema, base = base_of(name)
    flat = slopes(schema, base, ADAMW, transfer=True)
    steep = slopes(schema, base, ADAMW, transfer=False)
    assert len(flat) >= 3
    assert all(-0.25 < slope < 0.2 for part, slope in flat.items() if part != "output"), flat
    # Initial scores vanish with the width, and with them what their weights make of the first changes.
    assert -0.5 < flat["output"] < 0.2
    assert steep["output"] > 0.35
    assert steep["output"] - flat["output"] > 0.5


@pytest.mark.parametrize("optimizer", [{"name": "muon", "learning_rate": 0.01}, {"name": "rmsprop", "learning_rate": 5e-4}])
@pytest.mark.parametrize("head", [HeadConfig(), HeadConfig(tied=False)], ids=["tied", "untied"])
def test_other_optimizers_and_both_heads(optimizer: dict, head: HeadConfig):
    schema, base = base_of("transformer")
    flat = slopes(schema, base, optimizer, transfer=True, factors=(1, 4), head=head)
    assert all(-0.3 < slope < 0.2 for slope in flat.values()), flat


def test_gradient_descent():
    schema, base = base_of("mlp")
    sgd = {"name": "sgd", "learning_rate": 0.05}
    flat, other = (slopes(schema, base, sgd, transfer=transfer, factors=(1, 4, 8)) for transfer in (True, False))
    assert all(-0.45 < slope < 0.25 for slope in flat.values()), flat
    assert other["backbone.layers.0"] < -0.4, "without transfer the first layer stops to learn"


def test_a_hybrid_too():
    schema, base = base_of("hybrid")
    flat = slopes(schema, base, ADAMW, transfer=True, factors=(1, 4))
    assert all(-0.4 < slope < 0.25 for slope in flat.values()), flat


def test_depth_leaves_the_stream_as_it_moved():
    schema, base = base_of("transformer")
    flat, steep = (slopes(schema, base, ADAMW, transfer=transfer, factors=(1, 2, 4), dial="depth") for transfer in (True, False))
    assert abs(flat["backbone.norm"]) < 0.15
    assert abs(flat["output"]) < 0.25
    # What the first branch adds shrinks as there are more of them, so that all together move the stream alike.
    first = "backbone.blocks.0.feedforward.output"
    assert flat[first] == pytest.approx(-1, abs=0.3)
    assert flat[first] < steep[first] - 0.3


@pytest.mark.parametrize("optimizer", sorted(optimizers))
def test_with_a_base_as_large_nothing_changes(optimizer: str):
    schema, base = base_of("transformer")
    weights = []
    for transfer in (False, True):
        network, growths = grown(schema, base, base, HeadConfig(), 0)
        if not transfer:
            network, growths = build_network(schema, base, 24, seed=0), None
        rule = _rule(network, schema, growths, {"name": optimizer, "learning_rate": 0.01, "weight_decay": 0.1})
        torch.manual_seed(0)
        batch = made_up_batch(schema, 4)
        for step in range(3):
            rule.step(batch, step, 0.5, 0.5)
        weights.append([parameter.detach().clone() for parameter in network.parameters()])
    for plain, transferred in zip(*weights, strict=True):
        assert torch.equal(plain, transferred)


def _rule(network: nn.Module, schema, growths, optimizer: dict, **more):
    settings = {"optimizer": optimizer, "precision": "float32", "memory_format": "contiguous", "compile": False, **more}
    return build_rule(TrainingConfig.model_validate(settings), network, choose_task(schema, None).build(schema), 0, growths)


def _rates(rule) -> dict[int, tuple[float, float]]:
    return {id(p): (g["initial_lr"], g["weight_decay"]) for g in rule._optimizer.param_groups for p in g["params"]}


def test_groups_by_hand():
    schema, base = base_of("transformer")
    network, growths = grown(schema, base, base.scaled(width=4), HeadConfig(), 0)
    rule = _rule(network, schema, growths, {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.1})
    rates, named = _rates(rule), dict(network.named_parameters())
    assert rates[id(named["backbone.blocks.0.attention.project.weight"])] == (pytest.approx(0.0025), pytest.approx(0.4))
    assert rates[id(named["backbone.blocks.0.attention.project.bias"])] == (0.01, 0.0)
    assert rates[id(named["stem.table"])] == (pytest.approx(0.005), pytest.approx(0.2))
    assert rule._optimizer.param_groups[0]["lr"] == 0.01, "the rate that is shown is the recipe's"
    epsilons = {g["initial_lr"]: g["eps"] for g in rule._optimizer.param_groups if g["weight_decay"]}
    assert epsilons[0.0025] == pytest.approx(2.5e-9)
    muon = _rates(_rule(network, schema, growths, {"name": "muon", "learning_rate": 0.01, "weight_decay": 0.1}))
    assert muon[id(named["backbone.blocks.0.attention.project.weight"])] == (pytest.approx(0.005), pytest.approx(0.2))
    assert muon[id(named["stem.table"])] == (pytest.approx(0.005), pytest.approx(0.2))


def test_muon_with_fused_rows_of_uneven_matrices():
    base = families["transformer"].model_validate({"width": 32, "num_heads": 4, "num_kv_heads": 2})
    network, growths = grown(TEXT, base, base.scaled(width=4), HeadConfig(), 0)
    assert network.backbone.blocks[0].attention.num_kv_heads == 8
    rates = _rates(_rule(network, TEXT, growths, {"name": "muon", "learning_rate": 0.01}))
    assert rates[id(network.backbone.blocks[0].attention.project.weight)][0] == pytest.approx(0.005)


def test_initial_weights_by_measurement():
    schema, base = base_of("mlp")
    network, _ = grown(schema, base, base.scaled(width=16), HeadConfig(), 0)
    small = build_network(schema, base, 3)
    ratio = network.head.linear.weight.std() / small.head.linear.weight.std()
    assert ratio.item() == pytest.approx(1 / 16, rel=0.15)


def test_compiling_changes_nothing():
    schema, base = base_of("transformer")
    weights = []
    for compiled in (False, True):
        network, growths = grown(schema, base, base.scaled(width=2), HeadConfig(), 0)
        named = torch.compile(network, backend="eager") if compiled else network
        assert ("_orig_mod" in next(iter(named.named_parameters()))[0]) is compiled
        optimizer = optimizers["adamw"](learning_rate=0.01).build(named.named_parameters(), growths)
        torch.manual_seed(0)
        batch = made_up_batch(schema, 4)
        for _ in range(2):
            nn.functional.cross_entropy(named(batch.inputs).flatten(0, 1), batch.target.flatten()).backward()
            optimizer.step()
            optimizer.zero_grad()
        weights.append([parameter.detach().clone() for parameter in network.parameters()])
    for eager, compiled in zip(*weights, strict=True):
        torch.testing.assert_close(eager, compiled, atol=1e-6, rtol=1e-5)


@pytest.fixture
def one_process(tmp_path):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_sharded_parameters_are_known_by_their_names(one_process):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    schema, base = base_of("transformer")
    network, growths = grown(schema, base, base.scaled(width=2), HeadConfig(), 0)
    plain = copy.deepcopy(network)
    mesh = init_device_mesh("cpu", (1,))
    for block in network.backbone.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    assert all(isinstance(parameter, DTensor) for parameter in network.parameters())
    rules = [optimizers["adamw"](learning_rate=0.01).build(each.named_parameters(), growths) for each in (plain, network)]
    shapes = [[(g["lr"], g["weight_decay"], [tuple(p.shape) for p in g["params"]]) for g in rule.param_groups] for rule in rules]
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) > 2
    # Rescaling acts on shards as on whole tensors.
    rescale(network, {name: Growth(initial=0.5) for name in growths})
    for (name, sharded), whole in zip(network.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(sharded.full_tensor(), whole * 0.5, msg=name)


def test_the_base_of_a_recipe():
    family = families["transformer"].model_validate({"width": 64, "num_heads": 4, "depth": 4})
    assert TransferConfig(base={"width": 32, "num_heads": 2}).of(family).depth == 4
    with pytest.raises(InputError, match=r"heads of attention are 16 wide, and in the base of the transfer 8;.*num_heads: 2 in the base"):
        TransferConfig(base={"width": 32}).of(family)
    with pytest.raises(InputError, match="unknown key"):
        TransferConfig(base={"widht": 32}).of(family)
    with pytest.raises(InputError, match="of the family lstm"):
        TransferConfig(base={"family": "lstm"}).of(family)
    small = family.scaled(width=0.5)
    assert TransferConfig(base=differing(family, small)).of(family) == small
    with pytest.raises(InputError, match="mean nothing to the family mlp"):
        differing(families["mlp"](), family)


def test_the_depth_of_a_base_of_another_width():
    base = families["cnn"].model_validate({**SMALL["cnn"], "blocks": 1, "residual": True})
    model = base.scaled(width=2, depth=3)
    found = growths_since(base, model, lambda family: meta_network(SCHEMAS["grey"], family, 3))
    assert found["backbone.blocks.8.branch.4.weight"][:4] == (1, 2, 1, 3)
    assert found["backbone.blocks.8.branch.0.weight"][:4] == (2, 2, 1, 1)
    assert summary(found)["output"] == 1

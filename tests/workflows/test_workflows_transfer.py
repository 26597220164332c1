"""`transfer check`, recipes with a base, and recipes that take over what was tuned small."""

from __future__ import annotations

import json
import math

import pytest
import torch

from modelwright.core.config import validate
from modelwright.core.errors import InputError
from modelwright.data.dataset import load
from modelwright.models.family import families
from modelwright.nn.head import HeadConfig
from modelwright.planning.transfer_curves import Coordinates, Curves
from modelwright.serving.bundle import load_bundle
from modelwright.workflows.job import Job
from modelwright.workflows.practice import loss_after, seeded
from modelwright.workflows.recipe import Recipe, dump_recipe, load_recipe
from modelwright.workflows.transfer import transfer_check
from modelwright.workflows.transferred import transferred


def mlp(path, **more) -> Recipe:
    training = {"budget": "20 steps", "batch_size": 32, "optimizer": {"name": "adamw", "learning_rate": 0.01}, **more.pop("training", {})}
    model = {"family": "mlp", "width": 16, "dropout": 0.0, **more.pop("model", {})}
    return validate(Recipe, {"data": {"path": str(path)}, "model": model, "training": training, "baselines": False, **more})


# The check


def test_the_check_tells_both_parametrizations_apart(command, table, tmp_path):
    code, out, err = command(
        "transfer", "check", table, "--family", "mlp", "--widths", "8", "--steps", "5", "--rates", "3", "--seeds", "2", "--standard",
        "--set", "model.width=32", "--set", "model.dropout=0", "--output", tmp_path / "check.svg", "--json",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert found["widths"] == [1, 8]
    assert found["roles"] == {"input": 3, "hidden": 1, "output": 1, "fixed": 4}
    changes = {name: each["parts"]["output"] for name, each in found["coordinates"].items()}
    assert changes["standard"]["slope"] > changes["transfer"]["slope"] + 0.5
    assert changes["standard"]["changes"][0] == changes["transfer"]["changes"][0], "at the base's width they are one network"
    for curves in found["curves"].values():
        assert [row["width"] for row in curves["widths"]] == [1, 8]
        assert all(len(row["losses"]) == 3 and len(row["losses"][0]) == 2 for row in curves["widths"])
        assert curves["widths"][0]["excess"] == 0
        assert "transfer" in curves["verdict"]
    assert (tmp_path / "check.svg").read_text().count("<path") > 10


def test_the_check_for_people(command, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = command("transfer", "check", table, "--family", "mlp", "--widths", "1,2", "--rates", "0", "--name", "x")
    assert code == 2
    assert "--name" in err
    code, out, err = command("transfer", "check", table, "--family", "mlp", "--widths", "1,2", "--rates", "0")
    assert code == 0, err
    assert "coordinates flat" in out
    assert max(map(len, out.splitlines())) <= 80
    assert (tmp_path / "transfer-table-mlp.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--widths", "1,wide"], "can't read the widths '1,wide'"),
        (["--widths", "1"], "the widths are 1; expected positive factors"),
        (["--widths", "1,-2"], "the widths are 1, -2"),
        (["--widths", "1,1.01"], "at 1.01x the mlp is no other network than at 1x"),
        (["--steps", "0"], "steps is 0; expected at least 1"),
        (["--rates", "2"], "2 rates make no curve"),
        (["--output", "check.txt"], "can't draw a picture of the kind .txt"),
        (["--output", "nowhere/check.png"], "nowhere: there is no such folder"),
        (["--family", "linear"], "the linear is no other network"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_trained(command, table, arguments, message):
    code, _, err = command("transfer", "check", table, *([] if "--family" in arguments else ["--family", "mlp"]), *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_standard_network_that_diverges_is_told_and_drawn(table, tmp_path):
    recipe = mlp(table, training={"optimizer": {"name": "sgd", "learning_rate": 1e30}, "clip_norm": None})
    found = transfer_check(recipe, widths=[4], rates=3, steps=20, output=tmp_path / "check.png")
    assert set(found.to_json()["coordinates"]["transfer"]["parts"]["output"]["changes"]) == {None}
    assert found.curves["transfer"].verdict == "unknown: the base diverges at every rate"
    json.dumps(found.to_json(), allow_nan=False)
    assert (tmp_path / "check.png").stat().st_size > 1000


def test_a_practice_run_is_a_function_of_its_job(table):
    recipe = mlp(table)
    dataset = load(recipe.data, 0)
    job = Job.make(recipe, dataset)
    assert loss_after(job, 3) == loss_after(job, 3), "a practice run is a function of its job"
    assert loss_after(seeded(job, 1), 3) != loss_after(job, 3)
    assert loss_after(job.replace(optimizer={"name": "sgd", "learning_rate": 1e30}, clip_norm=None), 20) == math.inf


def test_slopes_and_verdicts_by_hand():
    coordinates = Coordinates((1, 2, 4), {"stem": [3, 3, 3], "output": [1, 2, 4]})
    assert coordinates.slopes == pytest.approx({"stem": 0, "output": 1})
    assert not coordinates.flat
    assert Coordinates((1, 2), {"output": [1, math.inf]}).to_json()["parts"]["output"] == {"changes": [1, None], "slope": None}
    assert Coordinates((1, 2), {"output": [0, 0]}).flat
    curves = Curves((1, 8), (0.1, 0.2, 0.4), [[[3.0], [1.0], [2.0]], [[2.0], [1.01], [1.0]]])
    assert (curves.best(0), curves.best(1), curves.at_edge) == (1, 2, False)
    assert curves.excess(1) == pytest.approx(0.01)
    assert curves.verdict == "nearly transfers: at 8x the base's best rate is 1.00% above the best there"
    noisy = Curves((1, 8), (0.1, 0.2), [[[1.0, 1.0], [2.0, 2.0]], [[1.1, 1.3], [1.0, 1.0]]])
    assert noisy.noise(1) == pytest.approx(0.1)
    assert noisy.verdict.startswith("does not transfer: at 8x the base's best rate is 20.00% ± 10.00% above")
    assert noisy.at_edge
    diverged = Curves((1, 8), (0.1, 0.2), [[[1.0], [2.0]], [[math.inf], [1.0]]])
    assert diverged.verdict == "does not transfer: at 8x the base's best rate diverges"
    assert diverged.to_json()["widths"][1]["losses"] == [[None], [1.0]]
    nothing = Curves((1, 8), (0.1,), [[[math.inf]], [[math.inf]]])
    assert nothing.verdict.startswith("unknown")


# Recipes with a base


def test_a_recipe_with_a_base_trains_and_ships(command, table, tmp_path):
    path = tmp_path / "wide.yaml"
    path.write_text(dump_recipe(mlp(table, transfer={"base": {"width": 4}})))
    code, _, err = command("train", path, "--output", tmp_path / "run", "--quiet")
    assert code == 0, err
    written = load_recipe(tmp_path / "run" / "recipe.yaml")
    assert written.transfer is not None
    assert written.transfer.base == {"width": 4}
    code, out, _ = command("predict", tmp_path / "run", table, "--quiet")
    assert code == 0
    assert out


def test_with_a_base_as_large_a_job_is_the_same_to_the_bit(table):
    dataset = load(mlp(table).data, 0)
    plain, same, other = (
        Job.make(mlp(table, transfer=transfer), dataset) for transfer in (None, {"base": {"width": 16}}, {"base": {"width": 4}})
    )
    assert loss_after(plain, 10) == loss_after(same, 10) != loss_after(other, 10)


def test_a_tied_head_is_scaled_once(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be\nthat is the question\n" * 200)
    model = {"family": "lstm", "width": 32, "depth": 1}
    recipe = validate(
        Recipe,
        {
            "data": {"path": str(text), "source": "text", "context": 16},
            "model": model,
            "transfer": {"base": {"width": 8}},
            "baselines": False,
        },
    )
    dataset = load(recipe.data, 0)
    job = Job.make(recipe, dataset)
    assert job.recipe.head.scale == 0.25
    assert Job.make(job.recipe, dataset).recipe.head.scale == 0.25
    assert Job.make(recipe.replace(head=HeadConfig(tied=False)), dataset).recipe.head.scale == "auto"
    network = job.network().eval()
    hidden = network.hidden({"tokens": torch.zeros(1, 4, dtype=torch.int64)})
    features = network.backbone(network.stem({"tokens": torch.zeros(1, 4, dtype=torch.int64)}))
    torch.testing.assert_close(hidden, features.x * 0.25)


def test_the_scale_of_a_head_travels_in_the_bundle(command, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be\nthat is the question\n" * 200)
    code, _, err = command(
        "train", text, "--family", "gru", "--budget", "3 steps", "--set", "model={family: gru, width: 16, depth: 1}", "--set", "data.context=16", "--set", "data.source=text",
        "--set", "transfer.base={width: 8}", "--set", "baselines=false", "--output", tmp_path / "run", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    assert load_bundle(tmp_path / "run" / "model").config.head.scale == 0.5


@pytest.mark.parametrize(
    ("transfer", "message"),
    [
        ({"base": {"widht": 4}}, "unknown key"),
        ({"base": {"family": "cnn"}}, "the base of the transfer is of the family cnn"),
        ({"base": {"norm": "layer"}}, "only one of the model and its base has the parameter"),
        ({}, "transfer.base: field required"),
    ],
)
def test_a_wrong_base_is_refused(command, table, tmp_path, transfer, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(json.dumps({**json.loads(mlp(table).model_dump_json()), "transfer": transfer}))
    code, _, err = command("train", path, "--output", tmp_path / "run", "--quiet")
    assert code == 2
    assert message in err
    assert not (tmp_path / "run").exists()


def test_an_optimizer_that_does_not_say_how_it_transfers_is_refused(table, monkeypatch):
    from modelwright.training.optimizers.sgd import SGDConfig

    monkeypatch.setattr(SGDConfig, "transfers", False)
    recipe = mlp(table, training={"optimizer": {"name": "sgd"}}, transfer={"base": {"width": 4}})
    with pytest.raises(InputError, match="the optimizer sgd doesn't say how its settings transfer"):
        Job.make(recipe, load(recipe.data, 0))


# Carrying over


def test_hyperparameters_are_carried_over(table):
    base = mlp(table, training={"optimizer": {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "beta2": 0.95}})
    large = mlp(table, model={"width": 64}, training={"batch_size": 128, "budget": "100 steps"})
    found = transferred(large, base)
    optimizer = found.training.optimizer
    assert found.transfer is not None
    assert found.transfer.of(found.model) == base.model
    assert optimizer.learning_rate == pytest.approx(0.02)
    assert optimizer.weight_decay == pytest.approx(0.1 / 2 / 5)
    assert optimizer.beta2 == 0.95
    assert found.training.batch_size == 128
    assert transferred(large, base, horizon=True).training.optimizer.learning_rate == pytest.approx(0.02 * 20**-0.32)
    examples = transferred(
        large.replace(training=large.training.replace(budget="200 samples")),
        base.replace(training=base.training.replace(budget="100 samples")),
    )
    assert examples.training.optimizer.weight_decay == pytest.approx(0.1 / 2 / (2 / 4))
    apart = transferred(large.replace(training=large.training.replace(budget="3 epochs")), base)
    assert apart.training.optimizer.weight_decay == 0.1
    sgd = transferred(large, mlp(table, training={"optimizer": {"name": "sgd", "learning_rate": 0.1}}))
    assert sgd.training.optimizer.learning_rate == pytest.approx(0.4)
    assert transferred(base, base).training == base.training
    further = transferred(mlp(table, model={"width": 128}), found)
    assert further.transfer is not None
    assert further.transfer.base == {"width": 16}, "what the base took over itself counts from its own base"
    with pytest.raises(InputError, match="hyperparameters of the family mlp mean nothing to the family linear"):
        transferred(large.replace(model=families["linear"]()), base)


def test_a_recipe_with_what_was_tuned_is_written(command, table, tmp_path):
    small, large, out = tmp_path / "small.yaml", tmp_path / "large.yaml", tmp_path / "tuned.yaml"
    small.write_text(mlp(table, training={"optimizer": {"name": "adamw", "learning_rate": 0.01}}).model_dump_json())
    large.write_text(mlp(table, model={"width": 64}, training={"batch_size": 128}).model_dump_json())
    code, text, _ = command("transfer", "apply", large, small, "--output", out, "--json")
    assert code == 0
    answer = json.loads(text)
    assert answer["recipe"] == str(out)
    assert answer["changes"]["training.optimizer.learning_rate"][1] == pytest.approx(0.02)
    assert load_recipe(out) == transferred(load_recipe(large), load_recipe(small))
    code, _, err = command("transfer", "apply", large, small, "--output", out)
    assert code == 2
    assert "is there already" in err
    code, shown, _ = command("transfer", "apply", large, small, "--horizon", "--output", tmp_path / "b.yaml")
    assert code == 0
    assert max(map(len, shown.splitlines())) <= 80
    code, shown, _ = command("transfer", "apply", small, small, "--output", tmp_path / "same.yaml")
    assert code == 0
    assert "has the settings of the base already" in shown
    code, _, err = command("transfer", "apply", large, tmp_path / "none.yaml", "--output", tmp_path / "c.yaml")
    assert code == 2
    assert "none.yaml" in err
    assert not (tmp_path / "c.yaml").exists()


def test_the_base_may_be_a_run(command, table, tmp_path):
    small = tmp_path / "small.yaml"
    small.write_text(mlp(table).model_dump_json())
    assert command("train", small, "--output", tmp_path / "run", "--quiet")[0] == 0
    code, _, err = command(
        "transfer", "apply", small, tmp_path / "run", "--set", "model.width=32", "--output", tmp_path / "c.yaml", "--quiet"
    )
    assert (code, err) == (0, "")
    assert load_recipe(tmp_path / "c.yaml").transfer is not None

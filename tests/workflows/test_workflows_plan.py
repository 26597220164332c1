"""`plan` and `ledger`: what they tell, that it is right, and what they refuse."""

import json
import resource
from dataclasses import replace

import pytest

from modelwright.cli import main
from modelwright.core.errors import InputError
from modelwright.core.run import Run
from modelwright.core.units import parse_bytes
from modelwright.planning.devices import DEVICES
from modelwright.planning.layout import Layout
from modelwright.planning.machine import Accelerator
from modelwright.planning.profile import Profile
from modelwright.planning.trace import bytes_by_part
from modelwright.training.profiling import load_profile, measure_profile, rough_profile, save_profile
from modelwright.workflows import here, tracing
from modelwright.workflows.here import Past, append_lines, history_path, past, profile_path, remember, this_cpu
from modelwright.workflows.ledger import ledger, summary
from modelwright.workflows.outlook import MOST, TRACES, Outlook, _search
from modelwright.workflows.plan import plan

TEXT, IMAGE, TABLE = "shape:text,vocabulary=500", "shape:image,channels=1,height=12,width=12,classes=5", "shape:table,numbers=4,classes=3"
SMALL = [
    "model.width=32",
    "model.depth=2",
    "data.context=32",
    "training.batch_size=16",
    "training.precision=float32",
    "training.budget=10 steps",
]
DECODER = {"changes": {"model.family": "transformer"}, "settings": SMALL}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MODELWRIGHT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("device", ["cpu", "a100-80gb"])
@pytest.mark.parametrize(
    ("shape", "family"),
    [
        (TEXT, "transformer"), (TEXT, "lstm"), (TEXT, "gru"), (TEXT, "rnn"), (TEXT, "hybrid"), (IMAGE, "cnn"), (IMAGE, "transformer"),
        (IMAGE, "lstm"), (IMAGE, "mlp"), (TABLE, "mlp"), (TABLE, "linear"), (TABLE, "transformer"),
    ],
)  # fmt: skip
def test_every_family_is_planned(shape, family, device):
    made = plan(
        shape, device=device, changes={"model.family": family}, settings=["data.context=24", "training.precision=float32"], advise=False
    ).to_json()
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    memory = made["memory_bytes"]
    assert made["parameters"] * 4 == memory["parameters"]
    assert memory["peak"] >= memory["parameters"] + memory["optimizer"]
    assert made["step_seconds"]["low"] < made["step_seconds"]["value"] < made["step_seconds"]["high"]
    assert made["samples_per_second"] == pytest.approx(made["batch_size"] / made["step_seconds"]["value"])
    assert (made["tokens_per_second"] is None) == (shape != TEXT)
    # Backward is at most twice the forward pass, and the first layer's input needs no gradient.
    assert 1.4 < made["flops_per_step"] / (made["flops_per_sample"]["forward"] * made["batch_size"]) < 3.6
    assert made["fits"]
    assert [note[:31] for note in made["notes"]] == (["this machine has no profile yet"] if device == "cpu" else [])


def test_several_devices_share():
    one, eight = (plan(TEXT, device="h100-80gb", devices=n, layout="sharded", advise=False, **DECODER).to_json() for n in (1, 8))
    assert eight["memory_bytes"]["optimizer"] <= one["memory_bytes"]["optimizer"] / 8 + 1
    assert eight["parameters"] == one["parameters"]
    assert eight["layout"] == {"data": 1, "sharded": 8, "tensor": 1}
    assert eight["all_devices"]["samples_per_second"] == pytest.approx(8 * eight["samples_per_second"])


def test_cost_and_time_of_a_run():
    made = plan(TEXT, device="a100-80gb", devices=4, layout="data", price=3.6, advise=False, **DECODER)
    assert made.steps == 10
    assert made.run_seconds == pytest.approx(10 * made.outlook.seconds.value)
    assert made.cost == pytest.approx(4 * 3.6 * made.run_seconds / 3600)


def test_the_largest_batch_is_the_last_one_that_fits():
    for limit in (30e6, 60e6):
        machine = Accelerator("small", DEVICES["t4"], limit + 700e6)
        subject = plan(TEXT, device="t4", advise=False, **DECODER).outlook.subject
        outlook = Outlook(subject, machine, Layout())
        most = outlook.largest_batch()
        assert most > 0
        assert outlook.with_batch(most).fits
        assert not outlook.with_batch(most + 1).fits
    assert Outlook(subject, Accelerator("tiny", DEVICES["t4"], 1e6), Layout()).largest_batch() == 0


@pytest.mark.parametrize("first", [1, 8, 4096])
@pytest.mark.parametrize(
    ("need", "most"),
    [
        (lambda batch: 1e6 + 3e3 * batch, 133_000),
        (lambda batch: max(3e8, 1e6 + 3e3 * batch), 133_000),
        (lambda batch: 3e8 + 5e6 * (batch // 8), 167),
        (lambda batch: 5e8, 0),
        (lambda batch: 3e8, MOST),
    ],
)
def test_the_search_for_a_batch_copes_with_needs_that_hardly_grow_at_first(need, most, first):
    asked = []
    found = _search(lambda batch: asked.append(batch) or need(batch), first, 4e8, TRACES)
    assert most - 5 <= found <= most
    assert len(asked) <= TRACES


def test_where_memory_is_short_blocks_are_mapped():
    roomy = plan(TEXT, memory=4e9, advise=False, **DECODER).outlook
    roomy = replace(roomy, machine=replace(roomy.machine, base=300e6))
    assert not roomy.memory.mapped
    assert roomy.memory.parts["reserve"] > 0
    blocks = roomy.memory.needed - roomy.memory.parts["reserve"]
    tight = replace(roomy, machine=replace(roomy.machine, limit=blocks + 1))
    assert tight.memory.mapped
    assert tight.fits
    assert tight.memory.needed == pytest.approx(blocks, abs=2)
    assert "reserve" not in tight.memory.parts
    assert tight.seconds.value > roomy.seconds.value
    assert not replace(tight, machine=replace(tight.machine, limit=blocks - 2e6)).fits


def test_a_plan_says_that_memory_is_short():
    made = plan(TEXT, memory=1e6, advise=False, **DECODER)
    assert made.to_json()["memory_bytes"]["blocks_mapped"]
    assert any("memory is short" in note for note in made.notes)


def test_an_lstm_kernel_asks_for_more_than_it_writes_to():
    made = plan(IMAGE, memory=1e12, changes={"model.family": "lstm"}, settings=["training.precision=float32"], advise=False).outlook
    peak, touched = bytes_by_part(made.trace.peak), bytes_by_part(made.trace.touched_peak)
    if not any(kind.name == "mkldnn_rnn_layer" for kind in made.trace.work):
        pytest.skip("this machine has no such kernel")
    assert peak["untouched"] > 0 == touched["untouched"]
    assert made.memory.parts["reserve"] > peak["untouched"]
    assert "untouched" not in made.memory.parts


def test_the_limit_of_a_container_and_of_those_around_it(tmp_path):
    groups, tree = tmp_path / "cgroup", tmp_path / "tree"
    (tree / "user" / "run").mkdir(parents=True)
    groups.write_text("9:cpu:/other\n0::/user/run\n")
    (tree / "user" / "memory.max").write_text("2000\n")
    (tree / "user" / "run" / "memory.max").write_text("max\n")
    assert here._container_limits(groups, tree) == [2000]
    assert here._container_limits(tmp_path / "none", tree) == []


def test_what_does_not_fit_gets_three_remedies_that_do():
    settings = [*SMALL, "training.batch_size=4096"]
    made = plan(TEXT, device="t4", memory=1.3e9, changes={"model.family": "transformer"}, settings=settings)
    assert not made.outlook.fits
    assert len(made.advice) == 3
    assert all(advice.memory <= 1.3e9 for advice in made.advice)
    assert [advice.speed for advice in made.advice] == sorted((advice.speed for advice in made.advice), reverse=True)
    # A remedy that is settings is true when it is followed.
    followed = next(advice for advice in made.advice if advice.change.startswith("training.") and " " not in advice.change)
    again = plan(
        TEXT, device="t4", memory=1.3e9, changes={"model.family": "transformer"}, settings=[*settings, followed.change], advise=False
    )
    assert again.outlook.fits


def test_room_that_is_left_is_told():
    made = plan(TEXT, device="h100-80gb", changes={"model.family": "transformer"}, settings=[*SMALL, "training.batch_size=1"])
    assert made.largest_batch > 1000
    assert made.largest_model > 10 * made.to_json()["parameters"]
    assert any(advice.change.startswith("training.batch_size=") and advice.speed > 2 for advice in made.advice)


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"device": "warp9"}, "unknown device 'warp9'"),
        (
            {"device": "t4", "devices": 3, "layout": "data"},
            "a batch of 16 can't be divided evenly among 3 devices.*multiple of 3, such as 18",
        ),
        ({"device": "t4", "devices": 4, "layout": "tensor"}, "2 attention heads can't be divided among 4"),
        ({"device": "t4", "devices": 2, "layout": "rings"}, "unknown layout 'rings'"),
        ({"device": "t4", "devices": 0}, "a plan for 0 devices"),
        ({"device": "cpu", "devices": 2}, "2 CPUs can't be planned"),
        ({"device": "t4", "efficiency": 1.5}, "an efficiency of 1.5"),
        ({"device": "cpu", "efficiency": 0.5}, "the efficiency of a CPU is measured"),
        ({"device": "t4", "price": -1.0}, "a price of -1"),
        ({"device": "t4", "memory": 10e6}, "this can never fit: .* Take a smaller model"),
    ],
)
def test_what_can_not_be_planned(given, part):
    with pytest.raises(InputError, match=part):
        plan(TEXT, **given, **DECODER)


def test_what_is_found_nearly_fills_the_memory():
    for settings in (SMALL, [*SMALL, "model.depth=12"]):
        made = plan(TEXT, device="t4", memory=3e9, changes={"model.family": "transformer"}, settings=settings)
        found = made.outlook.larger_model()
        assert found is not None
        assert 0.7 * 3e9 < found[1].memory.needed <= 3e9


def test_slices_change_neither_flops_nor_what_lies_on_the_device():
    whole, sliced = (
        plan(
            TEXT, device="t4", advise=False, changes={"model.family": "transformer"}, settings=[*SMALL, "training.batch_size=100", more]
        ).to_json()
        for more in ("training.accumulation=1", "training.accumulation=33")
    )
    assert sliced["flops_per_step"] == pytest.approx(whole["flops_per_step"], rel=0.01)
    assert sliced["memory_bytes"]["inputs"] == pytest.approx(whole["memory_bytes"]["inputs"], rel=0.05)


def test_a_pattern_of_blocks_is_counted_whole():
    settings = ["model.pattern=[convolution,convolution,convolution,attention]", "model.depth=10", "data.context=16", "model.width=32"]
    made = plan(TEXT, device="t4", changes={"model.family": "hybrid"}, settings=settings, advise=False)
    assert made.to_json()["parameters"] == sum(p.numel() for p in made.outlook.subject.meta().parameters())
    with pytest.raises(InputError, match="hybrid can't be shared tensor parallel"):
        plan(TEXT, device="t4", devices=2, layout="tensor", changes={"model.family": "hybrid"}, settings=settings)


def test_documents_apart_are_planned_for_recurrent_networks_too():
    settings = ["data.context=16", "data.packing=separate", "model.width=32"]
    made = plan(TEXT, device="t4", changes={"model.family": "lstm"}, settings=settings, advise=False)
    assert made.notes == []


def test_a_network_without_heads_is_not_shared_tensor_parallel():
    with pytest.raises(InputError, match="lstm can't be shared tensor parallel"):
        plan(TEXT, device="t4", devices=2, layout="tensor", changes={"model.family": "lstm"}, settings=["data.context=16"])


def test_a_model_of_70_billion_parameters_is_never_allocated():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = plan(
        "shape:text,vocabulary=32000",
        device="h100-80gb",
        devices=64,
        changes={"model.family": "transformer"},
        settings=["model.preset=llama-70b", "data.context=4096", "training.batch_size=256", "training.activation_checkpointing=true"],
        advise=False,
    ).to_json()
    assert 68e9 < made["parameters"] < 70e9
    assert made["fits"]
    assert 0.3 < made["mfu"] < 0.7
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


def test_a_step_that_can_not_be_traced_is_planned_roughly(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("no value here")

    monkeypatch.setattr(tracing, "_traces", {})
    exact = plan(TEXT, device="t4", advise=False, **DECODER).to_json()
    monkeypatch.setattr(tracing, "_traces", {})
    monkeypatch.setattr(tracing, "rehearse", fail)
    rough = plan(TEXT, device="t4", advise=False, **DECODER).to_json()
    assert "no value here" in rough["notes"][0]
    assert rough["memory_bytes"]["parameters"] == exact["memory_bytes"]["parameters"]
    assert rough["flops_per_step"] == pytest.approx(exact["flops_per_step"], rel=0.2)
    assert rough["memory_bytes"]["peak"] == pytest.approx(exact["memory_bytes"]["peak"], rel=0.6)


def test_the_command(capsys):
    sizes = [f"--set={setting}" for setting in SMALL]
    assert main(["plan", TEXT, "--family", "transformer", "--device", "t4", "--json", *sizes]) == 0
    out, err = capsys.readouterr()
    made = json.loads(out)
    keys = {"parameters", "flops_per_step", "memory_bytes", "step_seconds", "samples_per_second", "tokens_per_second", "mfu", "fits"}
    assert keys <= set(made)
    assert {"peak", "parameters", "gradients", "optimizer", "activations"} <= set(made["memory_bytes"])
    assert max(map(len, err.splitlines())) <= 80
    assert main(["plan", TEXT, "--family", "transformer", "--device", "nothing"]) == 2
    assert "unknown device" in capsys.readouterr().err
    assert main(["plan", TEXT, "--family", "transformer", "--device", "t4", "--memory", "a lot"]) == 2
    assert "can't read the size" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "size"), [("16GB", 16e9), ("500 MB", 5e8), ("2GiB", 2**31), ("1e9", 1e9)])
def test_sizes_are_read(text, size):
    assert parse_bytes(text) == size


def test_training_fails_clearly_on_a_shape(capsys):
    assert main(["train", TEXT, "--family", "transformer", "--budget", "1s"]) == 2
    assert "only the shape of data is known" in capsys.readouterr().err


def test_a_profile_is_measured_kept_and_read(tmp_path):
    told = []
    profile = measure_profile("here", seconds=1.5, progress=lambda done, of: told.append((done, of)))
    assert told
    assert all(sample.seconds > 0 for sample in profile.samples)
    assert {sample.dtype for sample in profile.samples} >= {"float32"}
    save_profile(profile, tmp_path / "deep" / "profile.json")
    assert load_profile(tmp_path / "deep" / "profile.json", "here") == profile
    assert load_profile(tmp_path / "deep" / "profile.json", "elsewhere") is None
    (tmp_path / "profile.json").write_text('{"machine": "here"}')
    assert load_profile(tmp_path / "profile.json", "here") is None
    assert load_profile(tmp_path / "none.json", "here") is None


def past_row(quantity, forecast, measured, **more):
    given = {
        "run": "r",
        "family": "mlp",
        "device": here.machine_name(),
        "unit": "s",
        "plain": forecast,
        "when": "2026-11-22T10:00:00+00:00",
    }
    return Past(
        **{**given, "quantity": quantity, "forecast": forecast, "measured": measured, "low": forecast * 0.9, "high": forecast * 1.1, **more}
    )


def test_earlier_runs_correct_the_next_forecast():
    rough = rough_profile(here.machine_name())
    save_profile(rough, profile_path())
    plain = plan(TEXT, device="cpu", advise=False, **DECODER).outlook.seconds.value
    append_lines(history_path(), [past_row("step time", 1.0, 2.0, profile=rough.when).model_dump() for _ in range(18)])
    assert this_cpu().correction == pytest.approx(2 ** (18 / 20))
    assert plan(TEXT, device="cpu", advise=False, **DECODER).outlook.seconds.value == pytest.approx(plain * 2 ** (18 / 20), rel=0.01)
    append_lines(history_path(), [past_row("step time", 1.0, 2.0, device="another", profile=rough.when).model_dump()])
    assert this_cpu().correction == pytest.approx(2 ** (18 / 20)), "of this device only"
    append_lines(history_path(), [past_row("peak memory", 1.0, 0.0, profile=rough.when).model_dump()])
    assert this_cpu().memory_correction == 1, "what could not be measured tells nothing"
    crowded = [past_row(name, 1.0, 9.0, profile=rough.when, waiting=0.4).model_dump() for name in ("step time", "step time")]
    append_lines(history_path(), crowded)
    assert this_cpu().correction == pytest.approx(2 ** (18 / 20)), "of a machine that was left alone only"
    save_profile(Profile(**{**rough.model_dump(), "when": "2027-01-01T00:00:00+00:00"}), profile_path())
    assert this_cpu().correction == 1, "by this profile only"


def test_lines_that_are_no_rows_are_passed_over():
    append_lines(history_path(), [past_row("step time", 1.0, 2.0).model_dump(), {"quantity": 3}])
    with history_path().open("a") as file:
        file.write("{half a li")
    assert len(past()) == 1


def test_the_ledger_tells_how_near_forecasts_were(capsys):
    rows = [past_row("peak memory", value, 1.0) for value in (1.05, 0.8, 1.3)]
    assert summary(rows) == {"forecasts": 3, "median_absolute_error": pytest.approx(0.2), "inside": pytest.approx(1 / 3)}
    assert ledger().to_json()["quantities"] == {}
    append_lines(history_path(), [row.model_dump() for row in rows])
    found = ledger(last=2).to_json()["quantities"]["peak memory"]
    assert (found["forecasts"], len(found["rows"])) == (3, 2)
    assert main(["ledger"]) == 0
    out = capsys.readouterr().out
    assert "peak memory: 3 forecasts" in out
    assert "-20.0%" in out
    assert max(map(len, out.splitlines())) <= 80
    with pytest.raises(InputError, match="the last 0"):
        ledger(last=0)


def test_a_run_is_remembered(tmp_path):
    run = Run.create("a", tmp_path / "run")
    run.ledger.forecast("step time", "s", 1.0, 0.5, 2.0)
    run.ledger.forecast("never measured", "s", 1.0)
    run.ledger.measure("step time", "s", 1.5)
    run.ledger.measure("waiting", "1", 0.3)
    remember(run, "mlp", "here", {"step time": 0.9})
    (row,) = past()
    assert (row.quantity, row.forecast, row.plain, row.measured) == ("step time", 1.0, 0.9, 1.5)
    assert row.waiting == 0.3
    assert not row.tells

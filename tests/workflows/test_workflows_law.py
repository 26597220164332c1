"""`law`: what it tells of a table of runs, and what it refuses."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from modelwright.cli import main
from modelwright.core.errors import InputError
from modelwright.workflows.law import law
from modelwright.workflows.run_table import read_runs

REAL = Path(os.environ.get("MODELWRIGHT_DATA", "nowhere")) / "scaling-laws" / "gadre2024_c4_refinedweb.csv"
ROWS = [(size, ratio * size) for size in (1e7, 3e7, 1e8, 3e8, 1e9) for ratio in (20, 60, 180)]


def loss(params: float, data: float) -> float:
    return 1.7 + 400 / params**0.34 + 410 / data**0.28


def table(tmp_path: Path, rows: list[str], header: str = "params,tokens,loss") -> Path:
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def good() -> list[str]:
    random = np.random.default_rng(0)
    return [f"{params:g},{data:g},{loss(params, data) * np.exp(0.004 * random.standard_normal()):.6f}" for params, data in ROWS]


def test_says_what_a_larger_run_will_reach(tmp_path, good, capsys):
    path = table(tmp_path, good)
    assert main(["law", str(path), "--predict", "params=6.9e9,data=138e9", "--predict", "params=1.4B,data=28B", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["identified"] is True
    assert told["reason"] is None
    assert told["form"] in ("chinchilla", "tied")
    assert {"E", "A", "B", "alpha"} <= told["coefficients"].keys()
    first, second = told["predictions"]
    assert (first["params"], first["data"]) == (6.9e9, 138e9)
    assert first["low"] < first["loss"] < first["high"]
    assert first["loss"] == pytest.approx(loss(6.9e9, 138e9), rel=0.025)
    assert second["loss"] == pytest.approx(loss(1.4e9, 28e9), rel=0.015)


def test_the_table_on_the_terminal_fits(tmp_path, good, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert (
        main(
            [
                "law",
                str(table(tmp_path, good)),
                "--predict",
                "params=6.9e9,data=138e9",
                "--optimal",
                "1e21",
                "--plot",
                str(tmp_path / "law.svg"),
            ]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "90 % interval" in out
    assert max(map(len, out.splitlines())) <= 80
    assert (tmp_path / "law.svg").read_text().count("<svg") == 1


@pytest.mark.parametrize("ending", [".png", ".pdf"])
def test_draws(tmp_path, good, ending):
    plot = tmp_path / f"law{ending}"
    law(table(tmp_path, good), predict=["params=6.9e9,data=138e9"], plot=plot)
    assert plot.stat().st_size > 5000


def test_columns_of_any_name_and_unit(tmp_path, good):
    rows = [f"x,{float(cells[0]) / 1e6},{float(cells[1]) / 1e9},{cells[2]}" for cells in (row.split(",") for row in good)]
    path = table(tmp_path, rows, "run;size in millions;billions seen;nats".replace(";", ","))
    columns = {"params": "size in millions*1e6", "data": "billions seen*1e9", "loss": "nats"}
    told = law(path, columns=columns, predict=["params=6.9e9,data=138e9"])
    same = law(table(tmp_path, good), predict=["params=6.9e9,data=138e9"])
    assert told.predictions[0].value.value == pytest.approx(same.predictions[0].value.value, rel=1e-4)


def test_numbers_as_people_write_them(tmp_path, good):
    rows = [row.replace("1e+07", "10M", 1).replace("1e+09", '"1,000,000,000"', 1) for row in good]
    assert read_runs(table(tmp_path, rows), {}).points["params"].max() == 1e9


def test_the_third_axis_follows_from_two(tmp_path, good):
    rows = []
    for row in good:
        params, data, value = map(float, row.split(","))
        rows.append(f"{params},{6 * params * data},{value}")
    path = table(tmp_path, rows, "n_params,flops,final_loss")
    assert read_runs(path, {}).points["data"] == pytest.approx(read_runs(table(tmp_path, good), {}).points["data"])


def test_accuracy(tmp_path):
    rows = [f"{compute:g},{100 * (0.9 - 0.6 / (1 + (compute / 1e17) ** 0.5)):.4f}" for compute in np.geomspace(1e14, 1e19, 16)]
    answer = law(table(tmp_path, rows, "flops,top1"), columns={"accuracy": "top1"}, predict=["compute=1e21"])
    told = answer.to_json()["predictions"][0]
    assert told["low"] <= told["accuracy"] <= told["high"] <= 1
    assert told["accuracy"] == pytest.approx(0.894, abs=0.02)
    signed = law(table(tmp_path, [f"{row}%" for row in rows], "flops,top1"), columns={"accuracy": "top1"}, predict=["compute=1e21"])
    assert signed.predictions == answer.predictions


def test_a_table_of_points_with_measurements(tmp_path, good):
    path = table(tmp_path, good)
    ahead = tmp_path / "ahead.csv"
    ahead.write_text(f"params,tokens,loss\n7e9,140e9,{loss(7e9, 140e9)}\n")
    row = law(path, predict_file=ahead).to_json()["predictions"][0]
    assert abs(row["error"]) < 0.025
    assert row["measured"] == pytest.approx(loss(7e9, 140e9))


def test_a_table_of_points_in_the_units_of_the_runs(tmp_path, good):
    rows = [f"{float(cells[0]) / 1e6},{float(cells[1]) / 1e9},{cells[2]}" for cells in (row.split(",") for row in good)]
    ahead = tmp_path / "ahead.csv"
    ahead.write_text(f"millions,billions,nats\n7000,140,{loss(7e9, 140e9)}\n6900,138,\n")
    columns = {"params": "millions*1e6", "data": "billions*1e9", "loss": "nats"}
    first, second = law(table(tmp_path, rows, "millions,billions,nats"), columns=columns, predict_file=ahead).predictions
    assert (first.axes["params"], first.axes["data"]) == (7e9, 140e9)
    assert first.measured == pytest.approx(loss(7e9, 140e9))
    assert second.measured is None


def test_accuracies_in_percent_are_compared_in_one_unit(tmp_path):
    rows = [f"{compute:g},{100 * (0.9 - 0.6 / (1 + (compute / 1e17) ** 0.5)):.4f}" for compute in np.geomspace(1e14, 1e19, 16)]
    ahead = tmp_path / "ahead.csv"
    ahead.write_text("flops,accuracy\n1e20,88.16\n")
    told = law(table(tmp_path, rows, "flops,accuracy"), predict_file=ahead).predictions[0]
    assert told.measured == pytest.approx(0.8816)
    assert told.value.value == pytest.approx(0.8816, abs=0.01)


def test_epochs_stand_for_unique_data(tmp_path, good):
    rows = [f"{params:g},{data / epochs:g},{epochs},{data:g}" for params, data in ROWS for epochs in (1, 2, 4)]
    rows = [f"{row},{loss(*map(float, (row.split(',')[0], row.split(',')[3]))):.4f}" for row in rows]
    path = table(tmp_path, rows, "params,unique_tokens,epochs,tokens,loss")
    whole = read_runs(path, {}).points
    for lacking in ("tokens", "unique_tokens"):
        other = path.with_name(f"without-{lacking}.csv")
        other.write_text(
            path.read_text().replace(lacking, "nothing", 1)
            if lacking == "unique_tokens"
            else path.read_text().replace(",tokens,", ",nothing,", 1)
        )
        points = read_runs(other, {}).points
        np.testing.assert_allclose(points["data"], whole["data"], rtol=1e-5)
        np.testing.assert_allclose(points["unique"], whole["unique"], rtol=1e-5)
    told = law(path, predict=["params=2e9,unique=1e10,epochs=4"]).predictions[0]
    assert told.axes["data"] == 4e10


def test_repetition_is_refused_where_no_run_repeats(tmp_path, good):
    rows = [f"{row},{row.split(',')[1]}" for row in good]
    path = table(tmp_path, rows, "params,tokens,loss,unique")
    assert law(path, predict=["params=5e9,data=1e11,unique=5e10"]).identified
    assert "read 100 times" in str(law(path, predict=["params=5e9,data=1e11,unique=1e9"]).reason)


def test_the_best_size_is_refused_where_runs_do_not_tell_it(tmp_path):
    rows = [f"{params:g},{20 * params:g},{loss(params, 20 * params):.4f}" for params in np.geomspace(1e7, 1e9, 8)]
    answer = law(table(tmp_path, rows), form="tied", optimal=[1e25])
    assert answer.reason is not None
    assert law(table(tmp_path, rows), form="tied").identified


def test_decimal_commas_and_lower_case_multiples(tmp_path, good):
    same = read_runs(table(tmp_path, good), {})
    rows = [";".join(f"{float(cell):f}".rstrip("0").rstrip(".").replace(".", ",") for cell in row.split(",")) for row in good]
    european = read_runs(table(tmp_path, rows, "params;tokens;loss"), {})
    np.testing.assert_allclose(european.values, same.values)
    rows = [f"{float(cells[0]) / 1e6:g}m,{float(cells[1]) / 1e9:g}b,{cells[2]}" for cells in (row.split(",") for row in good)]
    np.testing.assert_allclose(read_runs(table(tmp_path, rows), {}).points["data"], same.points["data"])
    tabs = [row.replace(",", "\t").replace(".", ",") for row in good]
    with pytest.raises(InputError, match="usable runs are too few"):
        read_runs(table(tmp_path, tabs, "params\ttokens\tloss"), {})


def test_empty_columns_do_no_harm(tmp_path, good):
    assert len(read_runs(table(tmp_path, [f"{row},," for row in good], "params,tokens,loss,,"), {}).points) == len(good)


def test_the_share_of_embeddings_is_told_in_the_unit_of_the_parameters(tmp_path, good):
    rows = [f"{float(row.split(',')[0]) / 1e6},{0.9 * float(row.split(',')[0]) / 1e6},{row.partition(',')[2]}" for row in good]
    read = read_runs(table(tmp_path, rows, "params,params_no_embed,tokens,loss"), {"params": "params*1e6"})
    assert read.without_embeddings is not None
    assert read.without_embeddings[0] == "params_no_embed*1000000.0"
    np.testing.assert_allclose(read.without_embeddings[1], 0.9 * read.points["params"])


def test_conditions_choose_runs(tmp_path, good):
    rows = [f"{row},a" for row in good] + [f"{row},b" for row in good[:3]]
    path = table(tmp_path, rows, "params,tokens,loss,kind")
    assert len(read_runs(path, {}, ["kind=a", "params<=1e8"]).points) == 9
    assert len(read_runs(path, {}, ["kind!=a"] * 0 + ["params>2e7", "kind=a"]).points) == 12


def test_counts_what_it_sets_aside(tmp_path, good):
    rows = [*good, "1e8,nan,3.0", "1e8,2e9,", "oops,2e9,3.1", "-1e8,2e9,3.1", good[0]]
    read = read_runs(table(tmp_path, rows), {})
    assert len(read.points) == len(good)
    assert "4 runs set aside: line 17 (tokens is nan)" in read.notes[0]
    assert "1 row that say the same" in read.notes[1]


def test_seeds_of_one_run_are_all_kept(tmp_path, good):
    again = [row.rpartition(",")[0] + ",3.0" for row in good[-2:]]
    assert len(read_runs(table(tmp_path, [*good, *again]), {}).points) == len(good) + 2


def worse_with_compute(good: list[str]) -> list[str]:
    return [f"{params:g},{data:g},{6 - loss(params, data):.4f}" for params, data in ROWS]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda good: good[:3], "3 usable runs are too few"),
        (lambda good: [], "no run is left"),
        (worse_with_compute, "loss rises with compute"),
        (lambda good: [*good, "70,1400,3.2"], "mixes units"),
        (
            lambda good: [
                f"{float(row.split(',')[0]) / 1e3:g},{row.partition(',')[2]}" if n % 4 == 0 else row for n, row in enumerate(good)
            ],
            "mixes units",
        ),
        (
            lambda good: [f"{params:g},{1e19 / params:g},{loss(params, 1e19 / params):.4f}" for params in (1e8, 2e8, 4e8, 8e8, 16e8)],
            "same compute",
        ),
        (lambda good: [row.rpartition(",")[0] + ",3.0" for row in good], "the same in all runs"),
    ],
)
def test_refuses_a_table_that_no_law_describes(tmp_path, good, change, message):
    with pytest.raises(InputError, match=message):
        law(table(tmp_path, change(good)))


def test_refuses_accuracies_in_two_units(tmp_path):
    accuracies = [0.9 - 0.6 / (1 + (compute / 1e17) ** 0.5) for compute in np.geomspace(1e14, 1e19, 16)]
    rows = [f"{10.0 ** (14 + n / 3):g},{value * (1 if n % 3 else 100):.4f}" for n, value in enumerate(accuracies)]
    with pytest.raises(InputError, match="mixes units"):
        law(table(tmp_path, rows, "flops,accuracy"))


def test_refuses_compute_in_another_unit(tmp_path, good):
    rows = [
        f"{row},{6 * float(row.split(',')[0]) * float(row.split(',')[1]) * (1e-15 if number == 4 else 1):g}"
        for number, row in enumerate(good)
    ]
    with pytest.raises(InputError, match=r"mixes units|units don't fit"):
        law(table(tmp_path, rows, "params,tokens,loss,flops"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--loss", "los"], "unknown column 'los'"),
        (["--predict", "params=7e9"], "lacks data"),
        (["--predict", "size=7e9,data=1e9"], "unknown axis 'size'"),
        (["--predict", "params=lots,data=1e9"], "params is lots"),
        (["--predict", "params=-1,data=1e9"], "positive"),
        (["--where", "params~3"], "can't read --where"),
        (["--where", "colour=3"], "unknown column 'colour'"),
        (["--form", "parabola"], "parabola"),
        (["--form", "sigmoid"], "describes no loss"),
        (["--form", "repeated"], "needs unique"),
        (["--predict", "params=7e9,data=1e11,unique=1e9"], "the runs don't"),
        (["--predict", "params=1e200,data=1e200"], "params is 1e200"),
        (["--loss", "loss", "--accuracy", "tokens"], "not both"),
        (["--optimal", "-1"], "positive"),
        (["--plot", "law.doc"], "can't draw a picture of the kind .doc"),
        (["--decision", "3"], "decision of 3"),
        (["--params", "params*x"], "can't read the column"),
    ],
)
def test_wrong_arguments(tmp_path, good, capsys, arguments, message):
    assert main(["law", str(table(tmp_path, good)), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in " ".join(error.split())
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "content", ["", "params,tokens,loss\n", "\x00\x01", "params,params,loss\n1,2,3\n", "hello", f"params,loss\n{'1' * 200_000},3\n"]
)
def test_a_file_that_is_no_table(tmp_path, capsys, content):
    path = tmp_path / "runs.csv"
    path.write_text(content)
    assert main(["law", str(path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2


def test_warns_of_tokens_too_few_even_where_most_runs_saw_few(tmp_path):
    rows = [f"{params:g},{ratio * params:g},{loss(params, ratio * params):.4f}" for params, _ in ROWS[::3] for ratio in (3, 6, 12, 40)]
    assert any("15 of 20 runs saw fewer than 20 tokens" in warning for warning in law(table(tmp_path, rows)).warnings)
    assert not law(table(tmp_path, rows, "params,examples,loss")).warnings


def test_warns_when_counting_embeddings_misleads(tmp_path):
    random = np.random.default_rng(1)
    rows = []
    for width in (64, 128, 256, 512, 1024, 2048):
        body, tokens = 12 * 12 * width**2, 50_000 * width
        for ratio in (20, 60, 180):
            data = ratio * (body + tokens)
            rows.append(f"{body + tokens},{body},{data},{loss(body, data) * np.exp(0.002 * random.standard_normal()):.5f}")
    path = table(tmp_path, rows, "params,params_no_embed,tokens,loss")
    assert any("embeddings" in warning and "--params params_no_embed" in warning for warning in law(path).warnings)
    assert not any("embeddings" in warning for warning in law(path, columns={"params": "params_no_embed"}).warnings)


@pytest.mark.skipif(not REAL.is_file(), reason="MODELWRIGHT_DATA has no scaling-laws")
def test_published_runs():
    """Runs of at most 412M parameters foretell 1.4B and 6.9B; of at most 160M they must not."""
    columns = {"loss": "loss_c4_val", "data": "tokens"}
    larger = ["params=1439795200,data=28795904000", "params=6889410560,data=137788211200"]
    where = ["dataset=rw_original", "params<=4.2e8", "tokens<=3.3e10"]
    told = law(REAL, columns=columns, where=where, predict=larger)
    assert told.identified
    for row, came in zip(told.predictions, (2.763351, 2.454722), strict=True):
        assert row.value.low <= came <= row.value.high
        assert row.value.value == pytest.approx(came, rel=0.03)
    hopeless = law(REAL, columns=columns, where=["dataset=rw_original", "params<=1.6e8"], predict=larger)
    assert not hopeless.identified
    assert hopeless.next_run is not None

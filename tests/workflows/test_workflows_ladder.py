"""`ladder`: rungs, their branches, what is planned, and what is made of them."""

import itertools
import json
import math
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modelwright.cli import main
from modelwright.core.disk import write_atomic
from modelwright.core.errors import DivergedError, InputError, RunInterrupted
from modelwright.core.registry import Registry
from modelwright.data.dataset import load
from modelwright.planning.range import Range
from modelwright.workflows.job import Job
from modelwright.workflows.ladder import _hardly_better, _most_telling, ladder
from modelwright.workflows.pricing import Price, Pricing
from modelwright.workflows.recipe import chosen_recipe, dump_recipe
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.rung_jobs import lanes_of, makespan, ways_to_share
from modelwright.workflows.rung_plan import ENOUGH_STEPS, Guess, guess_target, plan_rungs, shapes
from modelwright.workflows.rung_runs import climb_all
from modelwright.workflows.rungs import Climb, Metric, Rung, RungResult, branch_point, data_per_step, read_results, rung_recipe

SETTINGS = [
    "model.width=128",
    "model.depth=1",
    "training.batch_size=64",
    "training.precision=float32",
    "training.memory_format=contiguous",
    "training.optimizer.learning_rate=0.01",
]


RESULT = {
    "rung": "one", "params": 100, "data": 1e4, "unique": 1e4, "compute": 1e9, "steps": 100, "step_seconds": 0.01, "threads": 1,
}  # fmt: skip


def recipe_of(family: str = "mlp"):
    return chosen_recipe("digits", SETTINGS, {"model.family": family})


@pytest.fixture(scope="module")
def digits():
    return load(recipe_of().data, 0)


def rung_of(recipe, steps=(8, 16, 32)) -> Rung:
    return Rung(name="one", model=recipe.model.model_dump(mode="json"), params=100, flops=1e3, step_seconds=0.01, steps=steps)


class Prices:
    """Prices in proportion to parameters, without a machine."""

    def __init__(self, seconds_per_parameter: float = 1e-6) -> None:
        self.rate = seconds_per_parameter

    def params(self, model) -> int:
        return 64 * model.width + model.depth * model.width**2

    def of(self, model) -> Price:
        return Price(model, self.params(model), 6.0 * self.params(model), self.rate * self.params(model), None, True)


def test_a_branch_is_a_training_of_its_length(tmp_path, digits):
    """To the bit: the constant part is shared, whatever the length."""
    recipe = recipe_of()
    results = Climb(tmp_path, rung_of(recipe), recipe, digits, lambda steps: None).run()
    assert [row.steps for row in results] == [8, 16, 32]
    for row in results:
        job = Job.make(rung_recipe(recipe, row.steps, max(1, round(recipe.training.schedule.warmup * 8))), digits)
        network = job.network()
        job.trainer(network, judged=False).fit()
        assert Metric.of(job).measure(job, network) == row.value
    assert results[2].value < results[0].value
    assert results[1].data == pytest.approx(16 * data_per_step(Job.make(recipe, digits)))
    assert not list(tmp_path.rglob("step-*")), "checkpoints are gone when they aren't needed any more"


@pytest.mark.parametrize("stop", [3, 7, 9, 20, 30])
def test_an_interrupted_rung_goes_on_to_the_same_bits(tmp_path, digits, stop):
    recipe = recipe_of()
    whole = Climb(tmp_path / "whole", rung_of(recipe), recipe, digits, lambda steps: None).run()
    done = 0

    def tell(steps: int) -> None:
        nonlocal done
        done += steps
        if done == stop:
            raise KeyboardInterrupt

    saving = recipe.replace(training=recipe.training.replace(checkpoint_interval=1e-6))
    with pytest.raises(KeyboardInterrupt):
        Climb(tmp_path / "cut", rung_of(saving), saving, digits, tell).run()
    again = Climb(tmp_path / "cut", rung_of(saving), saving, digits, lambda steps: None).run()
    assert [row.value for row in again] == [row.value for row in whole]
    assert Climb(tmp_path / "cut", rung_of(saving), saving, digits, tell).run() == again == read_results(tmp_path / "cut")


def test_a_rung_that_diverges_is_left_out(tmp_path, digits, monkeypatch):
    whole = Climb.run

    def run(self):
        if self.rung.name == "b":
            raise DivergedError("The loss is nan at step 3.")
        return whole(self)

    monkeypatch.setattr(Climb, "run", run)
    rungs = [rung_of(recipe_of()).model_copy(update={"name": name}) for name in "abc"]
    notes = []
    reporter = Reporter()
    reporter.say = lambda label, text: notes.append(text)  # type: ignore[method-assign]
    results = climb_all(tmp_path, rungs, recipe_of(), digits, None, 1, reporter)
    assert {row.rung for row in results} == {"a", "c"}
    assert notes == ["the rung of 100 parameters is left out: The loss is nan at step 3."]


def test_rungs_in_processes_of_their_own(tmp_path, digits):
    recipe = recipe_of()
    rungs = [rung_of(recipe).model_copy(update={"name": name, "steps": (8, 16)}) for name in "ab"]
    write_atomic(tmp_path / "recipe.yaml", dump_recipe(recipe))
    results = climb_all(tmp_path, rungs, recipe, digits, None, 2, Reporter())
    assert [(row.rung, row.steps) for row in results] == [("a", 8), ("a", 16), ("b", 8), ("b", 16)]
    alone = Climb(tmp_path / "alone", rungs[0], recipe, digits, lambda steps: None).run()
    assert [row.value for row in results[:2]] == pytest.approx([row.value for row in alone], rel=1e-3)
    diverging = recipe.replace(training=recipe.training.replace(optimizer=recipe.training.optimizer.times(1e38)))
    (tmp_path / "far").mkdir()
    write_atomic(tmp_path / "far" / "recipe.yaml", dump_recipe(diverging))
    assert climb_all(tmp_path / "far", rungs[:1], diverging, digits, None, 2, Reporter()) == []


def running(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux")
def test_processes_end_with_their_parent(tmp_path, digits):
    """However that does: killed, it can tell nobody."""
    recipe = recipe_of()
    rung = rung_of(recipe).model_copy(update={"steps": (100_000, 200_000, 400_000)})
    write_atomic(tmp_path / "recipe.yaml", dump_recipe(recipe))
    write_atomic(tmp_path / "rung.json", rung.model_dump_json())
    script = tmp_path / "script.py"
    script.write_text(f"""
from pathlib import Path
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.rung_runs import climb_all
from modelwright.workflows.rungs import Rung
from modelwright.workflows.recipe import load_recipe
if __name__ == "__main__":
    folder = Path({str(tmp_path)!r})
    rung = Rung.model_validate_json((folder / "rung.json").read_text())
    climb_all(folder, [rung], load_recipe(folder / "recipe.yaml"), None, None, 2, Reporter())
""")
    parent = subprocess.Popen([sys.executable, str(script)])
    deadline = time.monotonic() + 60
    while not (tmp_path / "rungs" / "one" / "steps").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    children = [child for path in Path(f"/proc/{parent.pid}/task").glob("*/children") for child in path.read_text().split()]
    assert any(running(child) for child in children)
    parent.kill()
    parent.wait()
    while any(running(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(running(child) for child in children)


def test_all_steps_are_counted():
    rung = rung_of(recipe_of())
    assert rung.all_steps == 32 + (8 - branch_point(8)) + (16 - branch_point(16))


def test_rungs_are_what_the_time_pays_for(digits):
    job, prices = Job.make(recipe_of(), digits), Prices()
    sizes = shapes(job.recipe.model, prices, ("width",))
    params = [count for count, _ in sizes]
    assert params == sorted(params)
    guess, leading = Guess(prices.of(sizes[-1][1]), 20.0), []
    for seconds in (5.0, 50.0, 500.0, 5000.0):
        rungs = plan_rungs(job, seconds, guess, prices, sizes)[0]
        assert 0.5 * seconds < sum(rung.seconds for rung in rungs) <= seconds
        assert [rung.params for rung in rungs] == sorted({rung.params for rung in rungs})
        ratio = rungs[-2].steps[-1] * data_per_step(job) / rungs[-2].params
        assert ratio < 2 * 20.0 or rungs[-1].params == params[-1], "much data goes with large sizes"
        leading.append(rungs[-2].params)
    assert leading == sorted(leading)


def test_all_sizes_are_trained_equally_long_and_the_second_largest_longer(digits):
    job, prices = Job.make(recipe_of(), digits), Prices()
    sizes = shapes(job.recipe.model, prices, ("width",))
    rungs = plan_rungs(job, 100.0, Guess(prices.of(sizes[-1][1]), 20.0), prices, sizes)[0]
    leading = rungs[-2].steps
    assert [rung.steps for rung in rungs] == [(leading[0],), (leading[0],), leading, (leading[0],)]
    assert [longer / shorter for shorter, longer in itertools.pairwise(leading)] == [2] * (len(leading) - 1)
    assert len(leading) in (3, 4)
    assert all(small.params <= 0.67 * large.params for small, large in itertools.pairwise(rungs))


def test_the_shortest_trainings_follow_a_law_if_time_allows(digits):
    job, prices = Job.make(recipe_of(), digits), Prices()
    sizes = shapes(job.recipe.model, prices, ("width",))
    guess = Guess(prices.of(sizes[-1][1]), 20.0)
    assert min(rung.steps[0] for rung in plan_rungs(job, 200.0, guess, prices, sizes)[0]) >= ENOUGH_STEPS
    assert min(rung.steps[0] for rung in plan_rungs(job, 2.0, guess, prices, sizes)[0]) < ENOUGH_STEPS


def test_several_rungs_at_once_go_farther(digits):
    job, prices = Job.make(recipe_of(), digits), Prices()
    sizes = shapes(job.recipe.model, prices, ("width",))
    guess = Guess(prices.of(sizes[-1][1]), 20.0)
    one, two = (plan_rungs(job, 20.0, guess, prices, sizes, jobs)[0] for jobs in (1, 2))
    assert makespan([rung.seconds for rung in two], 2) <= 20.0 < sum(rung.seconds for rung in two)
    assert two[-2].flops * two[-2].steps[-1] > one[-2].flops * one[-2].steps[-1]


def test_whatever_takes_longest_is_begun_first():
    assert makespan([1, 2, 3, 4], 1) == 10
    assert makespan([1, 2, 3, 4], 2) == 5
    assert makespan([1, 1, 4], 2) == 4
    assert makespan([3, 2], 4) == 3


@pytest.fixture
def two_threads(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(Registry, "by_hand", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    torch.set_num_threads(before)


class Measured(Prices):
    """Prices of a machine on which a step with one thread takes `slower` times as long."""

    def __init__(self, slower: float, memory: float = 1.0) -> None:
        super().__init__()
        self.slower, self.memory = slower, memory

    limit = 10.0

    def of(self, model) -> Price:
        return replace(super().of(model), memory=self.memory)

    def fresh(self):
        return Measured(self.slower, self.memory)

    def measure(self, model) -> float:
        return self.of(model).step_seconds * (self.slower if torch.get_num_threads() == 1 else 1)

    def correct(self, model, step_seconds: float) -> None:
        self.rate *= step_seconds / self.of(model).step_seconds


@pytest.mark.parametrize(("asked", "jobs"), [(None, [1, 2]), (2, [2]), (1, [1])])
def test_several_rungs_may_be_trained_at_once(two_threads, asked, jobs):
    model = recipe_of().model

    def ways(seconds: float, memory: float = 1.0) -> list[int]:
        return [way.jobs for way in ways_to_share(Measured(1.1, memory), [model], asked, seconds)]

    assert ways(100.0) == jobs
    assert ways(10.0) == jobs[:1], "too short for processes"
    assert ways(100.0, memory=6.0) == jobs[:1], "two don't fit"
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("slower", "jobs"), [(0.8, 2), (2.0, 1)])
def test_the_plan_that_tells_more_is_taken(two_threads, digits, slower, jobs):
    """The leading rung takes most of the time and can't be divided: several at once pay only where threads are of little use."""
    job, prices = Job.make(recipe_of(), digits), Measured(slower)
    sizes = shapes(job.recipe.model, prices, ("width",))
    ways = ways_to_share(prices, [sizes[-1][1]], None, 100.0)
    assert _most_telling(job, 100.0, 5.0, Guess(prices.of(sizes[-1][1]), 20.0), sizes, ways)[1].jobs == jobs


def test_more_jobs_than_cores_wait_for_each_other(two_threads):
    (way,) = ways_to_share(Measured(1.1), [recipe_of().model], 50, 100.0)
    assert (way.jobs, lanes_of(way.jobs)) == (4, 2)


def test_parts_of_ones_own_code_are_trained_in_this_process(two_threads, monkeypatch):
    monkeypatch.setattr(Registry, "by_hand", True)
    assert [way.jobs for way in ways_to_share(Measured(1.1), [recipe_of().model], None, 100.0)] == [1]


def test_a_part_registered_by_hand_is_noticed(monkeypatch):
    monkeypatch.setattr(Registry, "by_hand", False)
    registry = Registry("thing", "modelwright.models")
    assert "mlp" not in registry
    assert not Registry.by_hand
    registry.register("mine")(type("Mine", (), {}))
    assert Registry.by_hand


@pytest.mark.parametrize(("depth", "least"), [(1, 1), (2, 2), (5, 3)])
def test_no_size_is_shallower_than_three_blocks(digits, depth, least):
    model = Job.make(recipe_of(), digits).recipe.model.replace(depth=depth)
    for dials in (("width", "depth"), ("width",)):
        depths = [scaled.depth for _, scaled in shapes(model, Prices(), dials)]
        assert min(depths) == (depth if dials == ("width",) else least)


def test_too_little_time_for_a_ladder(digits):
    job, prices = Job.make(recipe_of(), digits), Prices(1.0)
    sizes = shapes(job.recipe.model, prices, ("width",))
    with pytest.raises(InputError, match=r"no ladder fits.*more for --budget"):
        plan_rungs(job, 1.0, Guess(prices.of(sizes[-1][1]), 20.0), prices, sizes)


def test_a_model_without_smaller_sizes(digits):
    job, prices = Job.make(recipe_of(), digits), Prices()
    sizes = shapes(job.recipe.model, prices, ("width",))
    with pytest.raises(InputError, match=r"there are 2 sizes.*larger model"):
        plan_rungs(job, 1e6, Guess(prices.of(sizes[1][1]), 20.0), prices, sizes)


def test_a_target_of_examples_is_the_recipes_own_size(digits):
    job, prices = Job.make(recipe_of(), digits), Prices()
    guess = guess_target(job, 60.0, prices, shapes(job.recipe.model, prices, ("width",)))
    assert guess.price.model == job.recipe.model
    assert guess.ratio == pytest.approx(60 / guess.price.step_seconds * data_per_step(job) / guess.price.params)


def test_a_family_without_sizes(digits):
    job = Job.make(recipe_of("mlp"), digits)
    with pytest.raises(InputError, match="different sizes"):
        shapes(job.recipe.model.replace(depth=1), replace_params(Prices()), ("depth",))


def replace_params(prices: Prices) -> Prices:
    prices.params = lambda model: 100  # type: ignore[method-assign]
    return prices


@pytest.fixture(scope="module")
def priced(tmp_path_factory):
    """A ladder on digits, whose target is trained whatever the law says; and the parameters of all sizes priced before and after the rungs ran."""
    before, after, folder = [], [], tmp_path_factory.mktemp("ladder") / "made"
    told, climbed = Pricing._told, climb_all
    now = before

    def noted(pricing, model):
        now.append(pricing.params(model))
        return told(pricing, model)

    def then(*arguments):
        nonlocal now
        now = after
        return climbed(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pricing, "_told", noted)
        patch.setattr("modelwright.workflows.ladder.climb_all", then)
        answer = ladder(
            "digits", budget="18s", target_budget="28s", output=folder, settings=SETTINGS, changes={"model.family": "mlp"}, dials=["width"]
        )
    return answer, before, after


@pytest.fixture(scope="module")
def answer(priced):
    return priced[0]


def test_sizes_are_priced_while_the_budget_is_divided(priced):
    """So that their time is counted; afterwards only those that nobody expected to be recommended."""
    _, before, after = priced
    assert len(before) > 5
    assert not set(before) & set(after)
    assert all(params > max(before) for params in after)


def test_what_a_ladder_tells(answer):
    told = json.loads(json.dumps(answer.to_json(), allow_nan=False))
    assert told["metric"] == "log_loss"
    assert len(told["rungs"]) == sum(len(rung.steps) for rung in answer.plan.rungs)
    target = told["target"]
    assert target["forecast"]["low"] <= target["forecast"]["value"] <= target["forecast"]["high"]
    assert target["planned_seconds"] <= 28.5
    assert (answer.folder / "law.png").stat().st_size > 5000
    assert json.loads((answer.folder / "answer.json").read_text())["identified"] == told["identified"]


def test_the_rungs_are_a_table_that_law_reads(answer, capsys):
    assert main(["law", str(answer.folder / "rungs.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == len(answer.results)


def test_the_target_is_a_recipe_that_train_takes(answer, tmp_path):
    assert main(["train", str(answer.folder / "target.yaml"), "--budget", "5 steps", "--output", str(tmp_path / "run"), "--quiet"]) == 0


def test_a_finished_ladder_opens_again(answer, capsys):
    assert main(["ladder", "--resume", str(answer.folder), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["rungs"] == json.loads(json.dumps(answer.to_json()))["rungs"]


def test_rungs_trained_with_fewer_threads_set_no_price(answer, tmp_path):
    folder = shutil.copytree(answer.folder, tmp_path / "copy")
    for path in folder.rglob("results.jsonl"):
        rows = [json.loads(line) | {"threads": 99, "step_seconds": 1e3} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = ladder(resume=folder, jobs=2)
    assert again.plan.jobs == 2
    assert 0.05 < again.recommended.steps / answer.recommended.steps < 20, "a thousand seconds a step would leave next to none"


def test_a_ladder_of_networks_that_learned_nothing_is_refused(answer, tmp_path):
    folder = shutil.copytree(answer.folder, tmp_path / "copy")
    for path in folder.rglob("results.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(row | {"value": 2.2 + row["value"] / 1e3}) + "\n" for row in rows))
    again = ladder(resume=folder)
    assert not again.identified
    assert again.reason is not None
    assert again.reason.startswith("the rungs are hardly better than a constant")


def test_the_forecast_stands_beside_the_measurement(answer, monkeypatch, tmp_path):
    from modelwright.workflows import ladder as module

    short = replace(
        answer.recommended, recipe=answer.recommended.recipe.replace(training=answer.recommended.recipe.training.replace(budget="20 steps"))
    )
    believed = replace(answer, reason=None, recommended=replace(short, value=Range(1.0, 0.5, 2.0)), folder=tmp_path)
    done = module._carried_out(believed, load(recipe_of().data, 0), module.Reporter())
    entries = done.outcome.run.ledger.entries()
    assert entries["validation log_loss"].forecast == 1.0
    assert entries["validation log_loss"].measured == done.measured
    again = module._carried_out(believed, load(recipe_of().data, 0), module.Reporter())
    assert again.measured == done.measured, "a target that was trained, or begun, isn't begun again"
    with pytest.raises(InputError, match="isn't identified"):
        module._carried_out(replace(believed, reason="too small"), load(recipe_of().data, 0), module.Reporter())


def test_the_answer_is_kept_before_the_target_is_trained(answer, monkeypatch):
    from modelwright.workflows import ladder as module

    written = answer.folder / "answer.json"
    written.unlink()

    def stop(*arguments, **named):
        raise RunInterrupted("stopped")

    monkeypatch.setattr(module, "train", stop)
    monkeypatch.setattr(module.Law, "objection", lambda *arguments: None)
    with pytest.raises(RunInterrupted, match=f"ladder --resume {answer.folder} --run"):
        ladder(resume=answer.folder, run=True)
    assert json.loads(written.read_text())["target"]["forecast"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs a recipe and a budget"),
        (["digits", "--family", "mlp"], "needs a recipe and a budget"),
        (["digits", "--family", "mlp", "--budget", "3 epochs"], "one of time"),
        (["digits", "--family", "mlp", "--budget", "1h", "--target-budget", "1m"], "is less than the ladder's"),
        (["digits", "--family", "mlp", "--budget", "1m", "--dials", "height"], "can't scale height"),
        (["digits", "--family", "mlp", "--budget", "1m", "--jobs", "0"], "at least 1"),
        (["--resume", "nowhere"], "does not exist"),
        (["digits", "--family", "mlp", "--budget", "1m", "--set", "data.validation=0"], "validation"),
    ],
)
def test_wrong_arguments(capsys, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["ladder", *arguments]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert not (tmp_path / "runs").exists()


def test_a_damaged_ladder(tmp_path, capsys):
    (tmp_path / "ladder.json").write_text("{")
    assert main(["ladder", "--resume", str(tmp_path)]) == 2
    assert "damaged" in capsys.readouterr().err


def test_what_a_constant_reaches_and_rungs_that_are_no_better_are_refused(digits):
    job = Job.make(recipe_of(), digits)
    constant = Metric.of(job).of_constant(job)
    assert constant == pytest.approx(math.log(10), abs=0.01)
    rows = [RungResult(**{**RESULT, "value": value}) for value in (2.25, 2.1)]
    told = "the rungs are hardly better than a constant: after 100 steps the best reaches a log_loss of 2.1, and the constant 2.303"
    assert _hardly_better("log_loss", rows, math.log(10)) == told
    assert _hardly_better("log_loss", [*rows, RungResult(**{**RESULT, "value": 2.0})], math.log(10)) is None
    later = RungResult(**{**RESULT, "value": 1.0, "steps": 400})
    assert _hardly_better("log_loss", [*rows, later], math.log(10)) == told, "sizes are compared where all are trained"
    assert _hardly_better("bits_per_byte", rows, None) is None

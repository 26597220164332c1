"""Rungs: small trainings of one size and one or several lengths, that tell what a large one will reach.

One training with a constant learning rate serves all lengths of a size: before each of them ends, a branch leaves it, in which the rate decays to the
end. A branch has the same bits as a training of that length alone (Hägele et al. 2024, section 4, cost and use of such cooldowns).
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from modelwright.core.disk import write_atomic
from modelwright.core.errors import InputError
from modelwright.core.units import Budget
from modelwright.data.dataset import Dataset
from modelwright.evaluation.baseline import suitable_baselines
from modelwright.evaluation.evaluate import evaluate, measure
from modelwright.models.family import FamilyConfig
from modelwright.planning.laws.points import Points
from modelwright.training import checkpoint
from modelwright.training.hook import Hook, StepInfo
from modelwright.training.schedules.wsd import WarmupStableDecayConfig
from modelwright.training.trainer import Trainer
from modelwright.workflows.job import Job, probe
from modelwright.workflows.recipe import Recipe
from modelwright.workflows.transferred import transferred

DECAY = 0.3
"""Share of a training in which its learning rate decays."""


class Rung(BaseModel):
    """A size, and how long it is trained.

    Attributes:
        name: of its folder.
        model: the family's settings.
        params: parameters of the backbone; those of a vocabulary follow another law.
        flops: of the forward and backward pass of an example.
        step_seconds: as planned.
        steps: of its trainings, the shortest first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model: dict[str, Any]
    params: int
    flops: float
    step_seconds: float
    steps: tuple[int, ...]

    def config(self, recipe: Recipe) -> FamilyConfig:
        """The family's settings, as those of the recipe are."""
        return type(recipe.model).model_validate(self.model)

    @property
    def all_steps(self) -> int:
        """Of all lengths together."""
        return all_steps(self.steps)

    @property
    def seconds(self) -> float:
        """What all of them take, as planned."""
        return self.all_steps * self.step_seconds


class RungResult(BaseModel):
    """What a rung reached after one of its lengths.

    Attributes:
        rung: its name.
        params: of the backbone.
        data: tokens or examples trained on.
        unique: of these, how many are different at most.
        compute: FLOPs.
        value: of the ladder's metric, on the validation split.
        steps: of the training.
        step_seconds: as measured.
        threads: with which.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rung: str
    params: int
    data: float
    unique: float
    compute: float
    value: float
    steps: int
    step_seconds: float
    threads: int


def all_steps(lengths: Sequence[int]) -> int:
    """Steps of trainings of so many steps each, the shortest first, that share their constant part."""
    return lengths[-1] + sum(steps - branch_point(steps) for steps in lengths[:-1])


@dataclass(frozen=True)
class Metric:
    """What a ladder measures: a positive number of which less is better, and its name."""

    name: str

    @classmethod
    def of(cls, job: Job) -> Metric:
        """The primary metric if it is a loss, else the one that breaks its ties.

        Raises:
            InputError: the task has none.
        """
        name = job.task.tie_breaker if job.task.higher_is_better else job.task.primary
        if name is None:
            raise InputError(f"a ladder of this task isn't possible: its metric {job.task.primary} is no loss")
        return cls(name)

    def measure(self, job: Job, network: torch.nn.Module) -> float:
        """On the whole validation split."""
        return evaluate(network, job.task, job.dataset.splits["validation"], replicates=0).estimates[self.name].value

    def of_constant(self, job: Job) -> float | None:
        """What the best constant reaches there, such as the frequencies of the classes; None where there is no such baseline."""
        train, validation = job.dataset.train, job.dataset.splits["validation"]
        for baseline in suitable_baselines(job.dataset.schema):
            if baseline.is_constant:
                predict = baseline.fit(job.dataset.schema, job.task, train, validation, seconds=1.0)
                return measure(predict, job.task, validation, replicates=0).estimates[self.name].value
        return None


def branch_point(steps: int) -> int:
    """The step at which a training of so many begins to decay."""
    return round((1 - DECAY) * steps)


def sized(recipe: Recipe, model: FamilyConfig) -> Recipe:
    """The recipe with another size of its model, and the hyperparameters carried over to it."""
    return transferred(recipe.replace(model=model), recipe)


def point_of(params: float, data: float, unique: float, compute: float) -> Points:
    """A training as one point of a law; of data that is read once, all is unique."""
    axes = {"params": params, "data": data, "unique": min(unique, data), "compute": compute}
    return Points({axis: np.array([number], dtype=float) for axis, number in axes.items()})


def rung_recipe(recipe: Recipe, steps: int, warmup_steps: int) -> Recipe:
    """The recipe of a training of so many steps, whose first part is the same whatever their number."""
    schedule = WarmupStableDecayConfig(
        warmup=min(warmup_steps / steps, 0.99 - DECAY), decay=1 - branch_point(steps) / steps, final=recipe.training.schedule.final
    )
    training = recipe.training.replace(
        budget=Budget(steps, "steps"), schedule=schedule, max_epochs=None, early_stopping=None, restore_best=False, ema=None, compile=False
    )
    return recipe.replace(training=training)


def judged_on(dataset: Dataset, examples: int | None) -> Dataset:
    """The same data, its validation split cut to as many examples as runs are judged on; None leaves it whole."""
    return dataset if examples is None else dataset.cut({"validation": examples})


def unique_data(dataset: Dataset) -> float:
    """Tokens or examples of the training split."""
    return float(getattr(dataset.train, "tokens", len(dataset.train)))


def data_per_step(job: Job) -> float:
    """Tokens or examples of a step."""
    return len(job.dataset.train) / job.loader.steps_per_epoch * (job.tokens_per_sample or 1)


class Climb:
    """Trains one rung, length after length; an interrupted one goes on where it stopped.

    Args:
        folder: of this rung; its results lie in it, and checkpoints while it is trained.
        rung: what to train.
        recipe: of the ladder, with the hyperparameters of this rung.
        dataset: what is learnt.
        tell: gets the steps done since the last call.
    """

    def __init__(self, folder: Path, rung: Rung, recipe: Recipe, dataset: Dataset, tell: Callable[[int], None]) -> None:
        self.folder, self.rung, self.dataset, self.tell = folder, rung, dataset, tell
        self._recipe, self._fixed = recipe, {}

    def run(self) -> list[RungResult]:
        """All lengths, the shortest first."""
        done = read_results(self.folder)
        if len(done) == len(self.rung.steps):
            return done
        # All lengths in the format that is fastest here, chosen once, so that their first parts are the same.
        longest = probe(self._job(self.rung.steps[-1])).job
        self._fixed = {name: getattr(longest.training, name) for name in ("precision", "memory_format", "optimizer")}
        trunk = self._trainer("trunk", self.rung.steps[-1])
        for steps in self.rung.steps:
            known = next((result for result in done if result.steps == steps), None)
            if known is None:
                known = self._last(trunk) if steps == self.rung.steps[-1] else self._branch(trunk, steps)
                done.append(known)
                write_atomic(self.folder / "results.jsonl", "".join(result.model_dump_json() + "\n" for result in done))
        remove_checkpoints(self.folder)
        return done

    def _branch(self, trunk: _Training, steps: int) -> RungResult:
        """Go along the trunk to where this length leaves it, and decay from there."""
        leaves = branch_point(steps)
        state = checkpoint.latest(trunk.checkpoints)
        if state is None or state.step < leaves:
            trunk.fit(until=leaves / self.rung.steps[-1])
            state = checkpoint.latest(trunk.checkpoints)
        assert state is not None
        assert state.step == leaves, "the trunk stops, and saves, where the branch leaves it"
        branch = self._trainer(f"branch-{steps}", steps)
        if checkpoint.latest(branch.checkpoints) is None:
            checkpoint.save(branch.checkpoints, leaves, {**state.state, "pace": {"total_steps": steps}})
        return self._last(branch)

    def _last(self, training: _Training) -> RungResult:
        training.fit()
        job, steps = training.job, training.steps
        return RungResult(
            rung=self.rung.name,
            params=self.rung.params,
            data=steps * data_per_step(job),
            unique=min(unique_data(self.dataset), steps * data_per_step(job)),
            compute=self.rung.flops * steps * len(self.dataset.train) / job.loader.steps_per_epoch,
            value=Metric.of(job).measure(job, training.network),
            steps=steps,
            step_seconds=training.step_seconds,
            threads=torch.get_num_threads(),
        )

    def _job(self, steps: int) -> Job:
        warmup = max(1, round(self._recipe.training.schedule.warmup * self.rung.steps[0]))
        return Job.make(rung_recipe(self._recipe, steps, warmup), self.dataset)

    def _trainer(self, name: str, steps: int) -> _Training:
        return _Training(self._job(steps).replace(**self._fixed), self.folder / name, steps, self.tell)


class _Training:
    """A trainer with its network and checkpoints."""

    def __init__(self, job: Job, checkpoints: Path, steps: int, tell: Callable[[int], None]) -> None:
        self.job, self.checkpoints, self.steps = job, checkpoints, steps
        self.network = job.network()
        self.step_seconds = math.nan
        checkpoints.mkdir(parents=True, exist_ok=True)
        self._trainer: Trainer = job.trainer(self.network, hooks=[_Steps(tell)], checkpoints=checkpoints, judged=False)

    def fit(self, until: float = 1.0) -> None:
        """Go on from the newest checkpoint, to a share of the training."""
        result = self._trainer.fit(resume=True, until=until)
        self.step_seconds = self.job.training.batch_size / result.samples_per_second


class _Steps(Hook):
    """Tells how many steps were done."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell, self._last = tell, 0

    def on_start(self, info: StepInfo) -> None:
        """What an earlier session did isn't told again."""
        self._last = info.step

    def on_step(self, info: StepInfo) -> None:
        """A step is done."""
        self._tell(info.step - self._last)
        self._last = info.step


def read_results(folder: Path) -> list[RungResult]:
    """What a rung has reached so far."""
    path = folder / "results.jsonl"
    if not path.is_file():
        return []
    return [RungResult.model_validate(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def remove_checkpoints(folder: Path) -> None:
    """What was kept in case of an interruption."""
    for path in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        if path.name != "results.jsonl":
            path.unlink() if path.is_file() else path.rmdir()


def as_table(results: list[RungResult], metric: str) -> str:
    """The results as a table that `modelwright law` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rung", "params", "data", "unique", "compute", "loss", "metric", "steps", "step_seconds"])
    for row in results:
        writer.writerow([row.rung, row.params, row.data, row.unique, row.compute, row.value, metric, row.steps, row.step_seconds])
    return text.getvalue()

"""What growing saves: compute that a grown network needs to reach the loss of the same network trained from scratch.

    python benchmarks/growth.py transformer     # a decoder by character on tinyshakespeare, twice as wide and twice as deep
    python benchmarks/growth.py lstm            # an LSTM on the same
    python benchmarks/growth.py cnn             # a residual CNN on MNIST
    python benchmarks/growth.py transformer --quick      # one seed and a tenth of the steps: that it runs, not what it shows
    python benchmarks/growth.py transformer --tune       # learning rates of both sides, on a seed that is not judged

Each side has its best learning rate of a sweep (`--tune`), and each training its own whole schedule. The large network from scratch takes
compute C to a validation loss L; the grown one is trained with several shares of C, and the share at which it reaches L is read between
them. The small network's own training is counted in or not. Compute is counted FLOPs, so that other work on the machine changes nothing.

Needs MODELWRIGHT_DATA, the folder that holds tinyshakespeare/ and mnist/.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from result import Column, Result

from modelwright.core.config import validate
from modelwright.data.dataset import Dataset, load
from modelwright.growth.network import compare_outputs, grow_network
from modelwright.models.network import Network
from modelwright.training.machine import prepare_machine
from modelwright.workflows.job import Job
from modelwright.workflows.recipe import Recipe

DATA = Path(os.environ.get("MODELWRIGHT_DATA", "data"))
SEEDS, TUNING_SEED = 3, 100
SHARES = (0.3, 0.45, 0.6, 0.75, 0.9)
"""Of the steps from scratch, that the grown network is trained for."""
JUDGED = 1000
"""Examples of the validation split, or windows of a text, on which losses are measured; the same for all."""
TEXT = {"path": str(DATA / "tinyshakespeare" / "input.txt"), "context": 64, "tokenizer": "characters", "validation": 0.1, "test": 0}
MUON = {"name": "muon", "coefficients": "polar_express", "iterations": 3, "format": "float32"}


@dataclass(frozen=True)
class Setup:
    """One comparison.

    Attributes:
        data: of the recipe.
        model: of the small network; the large one is twice as wide and as deep.
        optimizer: but for its learning rate.
        small: learning rate of the small network.
        scratch: the same of the large one from scratch.
        grown: the same of the grown one.
        rates: those that are tried.
        batch_size: of all.
        small_steps: of the small network.
        steps: of the large one from scratch.
    """

    data: dict[str, Any]
    model: dict[str, Any]
    optimizer: dict[str, Any]
    small: float
    scratch: float
    grown: float
    rates: tuple[float, ...]
    batch_size: int
    small_steps: int
    steps: int


SETUPS = {
    "transformer": Setup(
        TEXT, {"family": "transformer", "width": 64, "depth": 2, "num_heads": 2, "feedforward_ratio": 4}, MUON,
        0.02, 0.02, 0.02, (0.005, 0.01, 0.02, 0.04), 24, 400, 400,
    ),
    "transformer-small": Setup(
        {**TEXT, "context": 32}, {"family": "transformer", "width": 32, "depth": 2, "num_heads": 2, "feedforward_ratio": 4}, MUON,
        0.02, 0.02, 0.02, (0.01, 0.02, 0.04), 16, 1200, 600,
    ),
    "lstm": Setup(
        TEXT, {"family": "lstm", "width": 64, "depth": 1, "dropout": 0.0}, MUON, 0.02, 0.02, 0.02, (0.005, 0.01, 0.02, 0.04), 24, 400, 400
    ),
    "cnn": Setup(
        {"path": str(DATA / "mnist")}, {"family": "cnn", "channels": [4, 8, 8], "blocks": 1, "residual": True}, {"name": "adamw"},
        0.01, 0.01, 0.01, (0.001, 0.003, 0.01, 0.03), 64, 400, 400,
    ),
}  # fmt: skip


class Bench:
    """The trainings of one setup and seed.

    Args:
        setup: what is compared.
        dataset: read once.
        seed: of weights and order.
    """

    def __init__(self, setup: Setup, dataset: Dataset, seed: int) -> None:
        self.setup, self.dataset, self.seed = setup, dataset, seed

    def job(self, model: Any, steps: int, rate: float, **training: Any) -> Job:
        """A job of so many steps."""
        values = {
            "data": self.setup.data, "seed": self.seed, "model": model, "baselines": False,
            "training": {
                "budget": f"{steps} steps", "batch_size": self.setup.batch_size, "optimizer": {**self.setup.optimizer, "learning_rate": rate},
                "precision": "float32", "memory_format": "contiguous", "compile": False, "evaluations": 1, "restore_best": False, **training,
            },
        }  # fmt: skip
        return Job.make(validate(Recipe, values), self.dataset)

    def fit(self, job: Job, network: Network) -> tuple[float, float]:
        """Train; gives the validation loss at the end and the FLOPs."""
        job.trainer(network, judged=False).fit()
        steps = job.planned_steps
        assert steps is not None
        return self.job_on_sample(job).validate(network)["loss"], steps * self.setup.batch_size * job.count.training_flops

    def job_on_sample(self, job: Job) -> Job:
        """The same job, judged on a part of the validation split."""
        validation = self.dataset.splits["validation"].sample(JUDGED)
        return job.on(replace(self.dataset, splits={**self.dataset.splits, "validation": validation}))

    def small(self, steps: int) -> tuple[Job, Network, float, float]:
        """The trained small network, its loss, and what it cost."""
        job = self.job(self.setup.model, steps, self.setup.small)
        network = job.network()
        return job, network, *self.fit(job, network)

    def grown(self, job: Job, network: Network, **choices: Any) -> tuple[Network, Any]:
        """The network, twice as wide and as deep, and its settings; outputs are checked."""
        recipe = job.recipe
        assert recipe.stem is not None
        loader = job.loader
        grown = grow_network(
            network, self.dataset.schema, recipe.model, width=2, depth=2, stem=recipe.stem, head=recipe.head,
            batches=[loader.batch(number).inputs for number in range(8)], seed=self.seed, **choices,
        )  # fmt: skip
        equality = compare_outputs(network, grown.network, [next(iter(self.dataset.splits["validation"].batches(32))).inputs])
        assert equality.holds, equality
        return grown.network, grown.family


def compare(setup: Setup, dataset: Dataset, seed: int, shares: tuple[float, ...], steps: int, small_steps: int) -> dict[str, Any]:
    """One seed: the loss from scratch, and the share of its compute with which the grown network reaches it."""
    bench = Bench(setup, dataset, seed)
    job, network, small_loss, small_flops = bench.small(small_steps)
    _, family = bench.grown(job, network)
    large = bench.job(family, steps, setup.scratch)
    scratch_family = job.recipe.model.scaled(width=2, depth=2)
    scratch_job = bench.job(scratch_family, steps, setup.scratch)
    loss, flops = bench.fit(scratch_job, scratch_job.network())
    assert abs(large.count.training_flops / scratch_job.count.training_flops - 1) < 0.01, "both sides are one size"
    points = []
    for share in shares:
        part = bench.job(family, max(1, round(share * steps)), setup.grown)
        again, _ = bench.grown(job, network)
        points.append((share, bench.fit(part, again)[0]))
        print(f"seed {seed}: {share:.0%} of the steps -> {points[-1][1]:.4f} (from scratch {loss:.4f}, small {small_loss:.4f})", flush=True)
    needed = share_needed(points, loss)
    values = {"scratch_loss": loss, "small_loss": small_loss, "scratch_flops": flops, "small_flops": small_flops}
    values |= {f"grown_loss_{share:g}": value for share, value in points}
    if needed is not None:
        values |= {"saved": 100 * (1 - needed), "saved_in_all": 100 * (1 - needed - small_flops / flops)}
    return values


def share_needed(points: list[tuple[float, float]], loss: float) -> float | None:
    """The first share at which the loss is reached, along straight lines; the smallest one tried if it is reached there; None if never."""
    if points[0][1] <= loss:
        return points[0][0]
    for (before, higher), (after, lower) in pairwise(points):
        if lower <= loss:
            return before + (after - before) * (higher - loss) / (higher - lower)
    return None


def tune(setup: Setup, dataset: Dataset, steps: int, small_steps: int, share: float = 0.5) -> None:
    """Print the losses of all rates: small, from scratch, and grown with a share of the steps."""
    bench = Bench(setup, dataset, TUNING_SEED)
    for rate in setup.rates:
        job = bench.job(bench.job(setup.model, 1, rate).recipe.model.scaled(width=2, depth=2), steps, rate)
        print(json.dumps({"side": "scratch", "rate": rate, "loss": bench.fit(job, job.network())[0]}), flush=True)
    job, network, loss, _ = bench.small(small_steps)
    print(json.dumps({"side": "small", "rate": setup.small, "loss": loss}), flush=True)
    for rate in setup.rates:
        grown, family = bench.grown(job, network)
        part = bench.job(family, round(share * steps), rate)
        print(json.dumps({"side": f"grown, {share:.0%}", "rate": rate, "loss": bench.fit(part, grown)[0]}), flush=True)


def main() -> None:
    """Read the command line, run, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setup", choices=SETUPS)
    parser.add_argument("--quick", action="store_true", help="one seed, a tenth of the steps, nothing written")
    parser.add_argument("--tune", action="store_true", help="sweep the learning rates on a seed of its own")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    prepare_machine()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    setup = SETUPS[arguments.setup]
    dataset = load(validate(Recipe, {"data": setup.data, "model": setup.model}).data, 0)
    steps, small_steps = setup.steps, setup.small_steps
    if arguments.tune:
        tune(setup, dataset, steps, small_steps)
        return
    if arguments.quick:
        print(json.dumps(compare(setup, dataset, 0, (0.5, 0.9), max(10, steps // 10), max(10, small_steps // 10))))
        return
    result = Result(f"growth-{arguments.setup}", f"What does growing save a {arguments.setup}, twice as wide and twice as deep?")
    for seed in range(arguments.seeds):
        result.add(
            "grown", compare(setup, dataset, seed, SHARES, steps, small_steps), command=f"python benchmarks/growth.py {arguments.setup}"
        )
    columns = [
        Column("loss from scratch", "scratch_loss", 4, is_score=True),
        Column("compute saved, %", "saved", 1, less_is_better=False, is_score=True),
        Column("with the small network's own, %", "saved_in_all", 1, less_is_better=False, is_score=True),
    ]
    print(result.write(columns, remarks=REMARKS))


REMARKS = (
    "Saved: 1 minus the compute with which the grown network reaches the loss of the one from scratch, as a share of the latter's compute. Where "
    "it is reached with the smallest share tried, that is taken. The second column counts the small network's training in."
)

if __name__ == "__main__":
    main()

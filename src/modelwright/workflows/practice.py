"""Practice runs: a job trained for a few steps and thrown away, to see what its parts do and where its loss comes to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from modelwright.core.batch import Batch
from modelwright.core.errors import DivergedError
from modelwright.models.network import Network
from modelwright.training.hook import Hook, StepInfo
from modelwright.training.resolution import build_rule
from modelwright.training.trainer import Trainer
from modelwright.workflows.job import Job

JUDGED_EXAMPLES = 2048
"""Examples on which a practice run is judged; of a text, windows that have eight times as many tokens together."""
SEED = 0
"""Of the dropout while parts are looked at."""


class _Steps(Hook):
    """Tells how many steps are done."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell

    def on_step(self, info: StepInfo) -> None:
        self._tell(info.step)


def seeded(job: Job, seed: int) -> Job:
    """The same job from other initial weights, with its examples in another order."""
    return replace(job, recipe=job.recipe.replace(seed=seed))


def practice(job: Job, network: Network, steps: int, *, factor: float = 1.0, tell: Callable[[int], None] = lambda step: None) -> None:
    """Train a network in place, in float32 and without evaluations.

    Args:
        job: whose data, schedule and settings are used.
        network: of the job, with fresh weights.
        steps: how many; the schedule goes through all of its course in them.
        factor: of the recipe's learning rates.
        tell: is told after each step how many are done.

    Raises:
        DivergedError: the loss stopped being a number.
        RunInterrupted: the user asked to stop.
    """
    config = job.training.replace(
        budget=f"{steps} steps",
        optimizer=job.training.optimizer.resolved(next(network.parameters()).device).times(factor),
        precision="float32",
        memory_format="contiguous",
        compile=False,
        ema=None,
        max_epochs=None,
    )
    rule = build_rule(config, network, job.task, job.recipe.seed, job.growths)
    Trainer(config, rule, job.loader, hooks=[_Steps(tell)]).fit()


def loss_after(job: Job, steps: int, *, factor: float = 1.0, tell: Callable[[int], None] = lambda step: None) -> float:
    """The loss on the validation split, or where there is none on the training split, after a practice run; infinite if it diverged."""
    network = job.network()
    try:
        practice(job, network, steps, factor=factor, tell=tell)
    except DivergedError:
        return math.inf
    found = loss(job, network)
    return found if math.isfinite(found) else math.inf


@torch.no_grad()
def loss(job: Job, network: nn.Module) -> float:
    """The mean of what training lowers, on some of the validation split, or of the training split where there is none."""
    split = job.dataset.splits.get("validation", job.dataset.train)
    examples = JUDGED_EXAMPLES if job.tokens_per_sample is None else max(1, 8 * JUDGED_EXAMPLES // job.tokens_per_sample)
    network.eval()
    total, count = 0.0, 0
    device = next(network.parameters()).device
    for batch in split.sample(examples).batches(job.training.batch_size):
        batch = batch.to(device)
        assert batch.target is not None, "validation has a target"
        part, number = job.task.objective(network, batch.inputs, batch.target)
        total, count = total + float(part), count + int(number)
    return total / count


@torch.no_grad()
def activations(network: Network, batch: Batch) -> dict[str, Tensor]:
    """What each part with parameters of its own gives in training, and the whole network, for a batch; by the part's name.

    A head's parts are left out, as it may only borrow a table; what it gives is `output`. What the forward pass multiplies counts as multiplied.
    """
    device = next(network.parameters()).device
    inputs = {name: tensor.to(device) for name, tensor in batch.inputs.items()}
    seen: dict[str, Tensor] = {}

    def keep(name: str, output: object) -> None:
        first = output[0] if isinstance(output, tuple) else output
        own = [value for path, value in network.multipliers.items() if path.rpartition(".")[0] == name]
        if isinstance(first, Tensor):
            seen[name] = first.detach().float() * max(own, default=1.0)

    hooks = [
        part.register_forward_hook(lambda module, args, output, name=name: keep(name, output))
        for name, part in network.named_modules()
        if name and not name.startswith("head") and next(part.parameters(recurse=False), None) is not None
    ]
    network.train()
    torch.manual_seed(SEED)
    try:
        output = network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {**seen, "output": output.detach().float()}

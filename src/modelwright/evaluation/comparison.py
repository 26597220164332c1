"""A comparison: whether the difference of two predictors, seen on the same examples, is more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from modelwright.core.batch import IGNORED
from modelwright.core.errors import InputError
from modelwright.evaluation.evaluate import Batches, PredictFunction
from modelwright.metrics.bootstrap import PoissonWeights
from modelwright.metrics.estimate import Estimate, percentile
from modelwright.tasks.task import Task


@dataclass(frozen=True)
class Comparison:
    """How much better the first of two predictors is.

    Attributes:
        advantage: accuracy of the first less that of the second, or root mean squared error of the second less that of the first, in standard
            deviations of the target, or loss a token of the second less that of the first; its interval is a paired bootstrap's.
        distinguishable: whether chance alone would make such a difference in less than 5 % of cases: by McNemar's exact test for classes, or
            because the interval excludes 0 for numbers and texts.
    """

    advantage: Estimate
    distinguishable: bool


def compare(
    first: PredictFunction,
    second: PredictFunction,
    task: Task,
    split: Batches,
    *,
    batch_size: int = 1024,
    replicates: int = 200,
    seed: int = 0,
) -> Comparison:
    """Compare two predictors example by example, which tells smaller differences apart than their two intervals do.

    Args:
        first: from inputs to output.
        second: likewise.
        task: of both.
        split: with targets.
        batch_size: examples at a time.
        replicates: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: the split is empty or has no targets.
    """
    weights = PoissonWeights(replicates, seed)
    sums = torch.zeros(3, 1 + replicates, dtype=torch.float64)
    discordant, classes, root, examples = [0, 0], False, False, 0
    for batch in split.batches(batch_size):
        if batch.target is None:
            raise InputError("the examples have no target, so that nothing can be compared")
        with torch.inference_mode():
            outputs = first(batch.inputs), second(batch.inputs)
        text = batch.target.ndim == 2 and batch.target.dtype == torch.int64
        classes = not text and bool(task.predict(outputs[0]).classes)
        root = not text and not classes
        errors = [example_errors(task, output, batch.target) for output in outputs]
        discordant[0] += int((errors[0] < errors[1]).sum())
        discordant[1] += int((errors[1] < errors[0]).sum())
        scored = (batch.target != IGNORED).sum(1).double().cpu() if text else torch.ones_like(errors[0])
        sums += torch.stack([scored, *errors]) @ weights.draw(batch.size)
        examples += batch.size
    if not sums[0, 0]:
        raise InputError("there is no example to compare on")
    means = (sums[1:] / sums[0]).sqrt() if root else sums[1:] / sums[0]
    advantage = means[1] - means[0]
    interval = percentile(float(advantage[0]), advantage[1:], examples, lowest=-math.inf)
    return Comparison(interval, mcnemar(*discordant) < 0.05 if classes else examples > 1 and not interval.low <= 0 <= interval.high)


def example_errors(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """(B,) float64: whether each example is mistaken, its squared error, or the summed loss of its tokens.

    Args:
        task: says which.
        output: (B, O), or (B, T, V) of a text.
        target: (B,), or (B, T).
    """
    target = target.cpu()
    if output.ndim == 3:
        losses = F.cross_entropy(output.cpu().flatten(0, 1).float(), target.flatten(), ignore_index=IGNORED, reduction="none")
        return losses.view(target.shape).double().sum(1)
    prediction = task.predict(output)
    if prediction.classes:
        return (prediction.value.cpu() != target).double()
    return (output.cpu().double().squeeze(1) - target.double()).square()


def mcnemar(first_alone: int, second_alone: int) -> float:
    """The two-sided exact p-value that two classifiers are right equally often.

    Only examples that one of them alone has right tell anything: under the hypothesis they fall to either like coin tosses. Source: McNemar
    (1947), Note on the sampling error of the difference between correlated proportions or percentages; exact by the binomial distribution.

    Args:
        first_alone: examples that only the first has right.
        second_alone: examples that only the second has right.
    """
    n, fewer = first_alone + second_alone, min(first_alone, second_alone)
    tail = sum(math.exp(_log_binomial(n, k) - n * math.log(2)) for k in range(fewer + 1))
    return min(1.0, 2 * tail)


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

"""A comparison: whether the difference of two predictors, seen on the same examples, is more than chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from modelwright.core.batch import IGNORED
from modelwright.core.errors import InputError
from modelwright.evaluation.evaluate import Batches, PredictFunction
from modelwright.metrics.bootstrap import PoissonWeights
from modelwright.metrics.estimate import Estimate, percentile
from modelwright.tasks.task import Task

ErrorKind = Literal["mistakes", "squared errors", "nats"]


@dataclass(frozen=True)
class Errors:
    """The errors of a predictor, example by example.

    Attributes:
        kind: whether an example is mistaken (0 or 1), its squared error in standard deviations of the target, or the summed loss of its tokens.
        values: (N,) float64.
        counts: (N,) float64, tokens that were scored; 1 where an example is scored as a whole.
    """

    kind: ErrorKind
    values: Tensor
    counts: Tensor

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def joined(cls, parts: Sequence[Errors]) -> Errors:
        """The errors of several batches, one after the other."""
        return cls(parts[0].kind, torch.cat([part.values for part in parts]), torch.cat([part.counts for part in parts]))

    def to_json(self) -> dict[str, Any]:
        """`kind`, `values`, and `counts` where an example has several."""
        digits = (
            [int(value) for value in self.values.tolist()] if self.kind == "mistakes" else [float(f"{v:.6g}") for v in self.values.tolist()]
        )
        counts = {"counts": [int(count) for count in self.counts.tolist()]} if self.kind == "nats" else {}
        return {"kind": self.kind, "values": digits, **counts}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Errors:
        """What `to_json` wrote."""
        numbers = torch.tensor(values["values"], dtype=torch.float64)
        counts = torch.tensor(values["counts"], dtype=torch.float64) if "counts" in values else torch.ones_like(numbers)
        return cls(values["kind"], numbers, counts)


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
            pair = [errors_of(task, predict(batch.inputs), batch.target) for predict in (first, second)]
        classes, root = pair[0].kind == "mistakes", pair[0].kind == "squared errors"
        one, other = (errors.values for errors in pair)
        discordant[0] += int((one < other).sum())
        discordant[1] += int((other < one).sum())
        sums += torch.stack([pair[0].counts, one, other]) @ weights.draw(batch.size)
        examples += batch.size
    if not sums[0, 0]:
        raise InputError("there is no example to compare on")
    means = (sums[1:] / sums[0]).sqrt() if root else sums[1:] / sums[0]
    advantage = means[1] - means[0]
    interval = percentile(float(advantage[0]), advantage[1:], examples, lowest=-math.inf)
    return Comparison(interval, mcnemar(*discordant) < 0.05 if classes else examples > 1 and not interval.low <= 0 <= interval.high)


def errors_of(task: Task, output: Tensor, target: Tensor) -> Errors:
    """The error of each of B examples.

    Args:
        task: of the output.
        output: (B, O), or (B, T, V) of a text.
        target: (B,), or (B, T) with `IGNORED` where nothing is scored.
    """
    output, target = output.detach().cpu(), target.detach().cpu()
    if output.ndim == 3:
        losses = F.cross_entropy(output.flatten(0, 1).float(), target.flatten(), ignore_index=IGNORED, reduction="none")
        return Errors("nats", losses.view(target.shape).double().sum(1), (target != IGNORED).sum(1).double())
    prediction = task.predict(output)
    if prediction.classes:
        values = (prediction.value != target).double()
        return Errors("mistakes", values, torch.ones_like(values))
    values = (output.double().squeeze(1) - target.double()).square()
    return Errors("squared errors", values, torch.ones_like(values))


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

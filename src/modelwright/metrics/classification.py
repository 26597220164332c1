"""Metrics of classification: what is right, which classes are confused, how well probabilities are ranked and calibrated.

Legend: B batch, C classes, R replicates; a dimension of 1 + R holds the plain sum first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modelwright.metrics.bootstrap import PoissonWeights
from modelwright.metrics.calibration import CalibrationSums
from modelwright.metrics.estimate import Estimate, exactly, percentile, proportion, reflected, wilson
from modelwright.metrics.meter import Meter, require_finite
from modelwright.metrics.ranking import RankingSums

_WHOLE_MATRIX = 100
"""With more classes than this, the details hold the most confused pairs only."""
_PAIRS = 20


class ClassificationMeter(Meter):
    """Measures logits against class indices.

    Of two classes, precision, recall and F1 are those of the second one, as is scikit-learn's default. Of more, they are averaged over
    the classes that are present in the targets or the predictions; balanced accuracy is averaged over those present in the targets, and
    `roc_auc` over those that some but not all targets are of. A ratio of nothing to nothing is 0. `roc_auc` is left out where no class has it.

    Args:
        classes: their names.
        replicates: of the bootstrap; 0 for values without intervals.
        seed: of the bootstrap.
    """

    def __init__(self, classes: Sequence[str], *, replicates: int = 0, seed: int = 0) -> None:
        self.classes = tuple(classes)
        size = len(self.classes)
        self._weights = PoissonWeights(replicates, seed)
        self._correct, self._support, self._predicted = torch.zeros(3, size, 1 + replicates, dtype=torch.float64)
        self._log_loss = torch.zeros(1 + replicates, dtype=torch.float64)
        self._confusion = torch.zeros(size * size, dtype=torch.int64)
        self._calibration = CalibrationSums(replicates)
        self._ranking = RankingSums(size, replicates)
        self.count = 0

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take in logits (B, C), or (B, 1) log-odds of the second of two classes, and class indices (B,).

        Raises:
            DivergedError: a logit is not a finite number.
        """
        require_finite(output)
        logits, target = output.detach().cpu().double(), target.detach().cpu()
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        log_p = logits.log_softmax(1)
        top, prediction = log_p.max(1)
        correct = prediction == target
        weights = self._weights.draw(len(target))
        self._support.index_add_(0, target, weights)
        self._predicted.index_add_(0, prediction, weights)
        self._correct.index_add_(0, target[correct], weights[correct])
        self._log_loss -= log_p.gather(1, target[:, None])[:, 0] @ weights
        self._confusion += torch.bincount(target * len(self.classes) + prediction, minlength=len(self._confusion))
        self._calibration.update(top.exp(), correct, weights)
        self._ranking.update(_log_odds(logits, log_p, prediction), target, weights)
        self.count += len(target)

    def compute(self) -> dict[str, Estimate]:
        """`accuracy`, `balanced_accuracy`, `precision`, `recall`, `f1`, `roc_auc`, `log_loss` and `calibration_error`.

        Raises:
            InputError: no example was seen.
        """
        self._require_examples()
        accuracy = float(self._correct[:, 0].sum()) / self.count
        replicated = self._weights.replicates > 0
        estimates = {"accuracy": wilson(accuracy, self.count) if replicated else exactly(accuracy), **self._class_wise()}
        area = self._ranking.estimate()
        if area:
            estimates["roc_auc"] = area
        log_loss, error = self._log_loss / self._support.sum(0), self._calibration.error()
        estimates["log_loss"] = percentile(float(log_loss[0]), log_loss[1:], self.count)
        estimates["calibration_error"] = reflected(float(error[0]), error[1:], self.count)
        return estimates

    def _class_wise(self) -> dict[str, Estimate]:
        """The metrics that are averaged over classes: each from its ratio by class (C, 1 + R), which classes count, and what it rests on."""
        both = self._support + self._predicted
        counted = both > 0
        recall, precision, f1 = (
            _ratio(self._correct, self._support),
            _ratio(self._correct, self._predicted),
            _ratio(2 * self._correct, both),
        )
        estimates = {"balanced_accuracy": _average(recall, self._support > 0, self._support)}
        for name, ratio, base in (("precision", precision, self._predicted), ("recall", recall, self._support), ("f1", f1, both)):
            if len(self.classes) == 2:
                estimates[name] = proportion(float(ratio[1, 0]), ratio[1, 1:], float(base[1, 0]))
            else:
                estimates[name] = _average(ratio, counted, base)
        return estimates

    def details(self) -> dict[str, Any]:
        """`count`, `classes`, `per_class`, `most_confused`, `calibration`, and up to 100 classes the `confusion_matrix` (rows: true class)."""
        self._require_examples()
        support, predicted, correct = (sums[:, 0] for sums in (self._support, self._predicted, self._correct))
        columns = {
            "precision": _ratio(correct, predicted),
            "recall": _ratio(correct, support),
            "f1": _ratio(2 * correct, support + predicted),
        }
        per_class = [
            {"class": name, **{key: float(values[index]) for key, values in columns.items()}, "support": int(support[index])}
            for index, name in enumerate(self.classes)
        ]
        details = {"count": self.count, "classes": list(self.classes), "per_class": per_class}
        if len(self.classes) <= _WHOLE_MATRIX:
            details["confusion_matrix"] = self._confusion.view(len(self.classes), -1).tolist()
        return {**details, "most_confused": self._most_confused(), "calibration": self._calibration.bins()}

    def _most_confused(self) -> list[dict[str, Any]]:
        """The most frequent mistakes: `true` class, `predicted` class, `count`."""
        size = len(self.classes)
        mistakes = self._confusion.clone()
        mistakes[:: size + 1] = 0
        counts, cells = mistakes.sort(descending=True, stable=True)
        pairs = zip(counts[:_PAIRS].tolist(), cells[:_PAIRS].tolist(), strict=True)
        return [{"true": self.classes[cell // size], "predicted": self.classes[cell % size], "count": n} for n, cell in pairs if n]


def _log_odds(logits: Tensor, log_p: Tensor, prediction: Tensor) -> Tensor:
    """The log-odds of every class against all others, (B, C); of two classes those of the second only, (B, 1).

    For the likeliest class, 1 - p would round to 0, so that the others are summed instead.
    """
    if logits.shape[1] == 2:
        return logits[:, 1:] - logits[:, :1]
    log_odds = log_p - torch.log(-torch.expm1(log_p))
    top = prediction[:, None]
    others = logits.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True)
    return log_odds.scatter(1, top, logits.gather(1, top) - others)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp(min=1), 0.0)


def _average(ratio: Tensor, counted: Tensor, base: Tensor) -> Estimate:
    """The mean of `ratio` (C, 1 + R) over the `counted` classes.

    The mean of proportions of `base` (C, 1 + R) trials each is as uncertain as one of (classes)² / sum(1 / base) trials.
    """
    values = (ratio * counted).sum(0) / counted.sum(0)
    rests_on = base[:, 0][base[:, 0] > 0]
    trials = len(rests_on) ** 2 / float((1 / rests_on).sum()) if len(rests_on) else 0.0
    return proportion(float(values[0]), values[1:], trials)

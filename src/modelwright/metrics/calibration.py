"""Calibration: whether of all predictions made with 80 % confidence, 80 % are right."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_BINS = 15


class CalibrationSums:
    """Examples, confidence and correct predictions in 15 bins of equal width of the highest probability.

    Source: Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks, equation 3.
    """

    def __init__(self, replicates: int) -> None:
        self._count, self._confidence, self._correct = torch.zeros(3, _BINS, 1 + replicates, dtype=torch.float64)

    def update(self, confidence: Tensor, correct: Tensor, weights: Tensor) -> None:
        """Take in the `confidence` (B,) in 0..1, whether it was `correct` (B,), and the `weights` (B, 1 + R)."""
        bins = (confidence * _BINS).long().clamp_(max=_BINS - 1)
        self._count.index_add_(0, bins, weights)
        self._confidence.index_add_(0, bins, weights * confidence[:, None])
        self._correct.index_add_(0, bins, weights * correct[:, None])

    def error(self) -> Tensor:
        """The expected calibration error of the plain sums and of each replicate, (1 + R,)."""
        return (self._correct - self._confidence).abs().sum(0) / self._count.sum(0)

    def bins(self) -> list[dict[str, Any]]:
        """The bins that hold examples: `low`, `high`, `count`, mean `confidence`, `accuracy`."""
        return [
            {
                "low": index / _BINS,
                "high": (index + 1) / _BINS,
                "count": int(count),
                "confidence": float(self._confidence[index, 0] / count),
                "accuracy": float(self._correct[index, 0] / count),
            }
            for index, count in enumerate(self._count[:, 0].tolist())
            if count
        ]

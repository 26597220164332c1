"""Metrics of language models: loss of a token, perplexity, bits per byte, accuracy.

Legend: B windows, T time, V vocabulary, R replicates; a dimension of 1 + R holds the plain sum first.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modelwright.core.batch import IGNORED
from modelwright.metrics.bootstrap import PoissonWeights
from modelwright.metrics.estimate import Estimate, percentile, proportion
from modelwright.metrics.meter import Meter, require_finite

_LARGEST_EXPONENT = 700.0
"""The exponential of more is no float64."""


class LanguageMeter(Meter):
    """Measures scores of next tokens. The bootstrap resamples windows: the tokens of one are no independent examples.

    Args:
        byte_lengths: (V,) UTF-8 bytes of each token; None where they are unknown, and with them the bits per byte.
        replicates: of the bootstrap; 0 for values without intervals.
        seed: of the bootstrap.
    """

    def __init__(self, byte_lengths: np.ndarray | None, *, replicates: int = 0, seed: int = 0) -> None:
        self._byte_lengths = None if byte_lengths is None else torch.as_tensor(np.asarray(byte_lengths, dtype=np.float64))
        self._weights = PoissonWeights(replicates, seed)
        self._sums = torch.zeros(4, 1 + replicates, dtype=torch.float64)
        self._windows = self.count = 0

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take in scores (B, T, V) and next tokens (B, T), `IGNORED` where none is scored; `count` counts the scored ones.

        Raises:
            DivergedError: the loss of a token is not a finite number.
        """
        scores, target = output.detach().flatten(0, 1), target.detach().to(output.device)
        nats = F.cross_entropy(
            scores.to(torch.promote_types(scores.dtype, torch.float32)), target.flatten(), ignore_index=IGNORED, reduction="none"
        )
        require_finite(nats[:, None])
        scored = target != IGNORED
        right = (scores.argmax(1).view_as(target) == target) & scored
        place = target.clamp(min=0).cpu()
        lengths = torch.zeros(place.shape) if self._byte_lengths is None else self._byte_lengths[place] * scored.cpu()
        statistics = torch.stack([part.cpu().double().sum(1) for part in (scored, nats.view_as(target), lengths, right)])
        self._sums += statistics @ self._weights.draw(len(target))
        self._windows += len(target)
        self.count += int(scored.sum())

    def compute(self) -> dict[str, Estimate]:
        """`loss` in nats a token, `perplexity`, `bits_per_byte` where bytes are known, and `accuracy`.

        Raises:
            InputError: no token was scored.
        """
        self._require_examples()
        tokens, nats, lengths, right = self._sums
        loss, accuracy = nats / tokens, right / tokens
        estimates = {"loss": percentile(float(loss[0]), loss[1:], self._windows)}
        estimates["perplexity"] = _exponential(estimates["loss"])
        if self._byte_lengths is not None and lengths[0] > 0:
            bits = nats / (math.log(2) * lengths)
            estimates["bits_per_byte"] = percentile(float(bits[0]), bits[1:], self._windows)
        estimates["accuracy"] = proportion(float(accuracy[0]), accuracy[1:], self.count)
        return estimates

    def details(self) -> dict[str, Any]:
        """`count` of scored tokens, their `bytes` where known, and the `windows` they stand in."""
        self._require_examples()
        known = {} if self._byte_lengths is None else {"bytes": int(self._sums[2, 0])}
        return {"count": self.count, **known, "windows": self._windows}


def _exponential(loss: Estimate) -> Estimate:
    return Estimate(*(math.exp(min(bound, _LARGEST_EXPONENT)) for bound in (loss.value, loss.low, loss.high)))

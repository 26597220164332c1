"""The Poisson bootstrap: every example counts a random number of times in every replicate, drawn when it streams by.

Source: Chamandy, Muralidharan, Najmi and Naidu (2012), Estimating uncertainty for massive data streams. For many examples it equals the usual
bootstrap, whose multinomial counts need the number of examples in advance.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from modelwright.core.randomness import derive


class PoissonWeights:
    """Draws how often each example counts: once in the plain sums, a Poisson(1) number of times in each of R replicates.

    The weights of the n-th example don't depend on how the examples are cut into batches.
    """

    def __init__(self, replicates: int, seed: int) -> None:
        self.replicates = replicates
        self._words = math.ceil(replicates / 4)
        self._bits = np.random.PCG64(derive(seed, "bootstrap"))
        self._counts = _inverse_distribution()

    def draw(self, size: int) -> Tensor:
        """The weights of the next `size` examples: (size, 1 + R) float64 with ones in the first column."""
        weights = torch.ones(size, 1 + self.replicates, dtype=torch.float64)
        if self.replicates:
            uniform = self._bits.random_raw(size * self._words).astype("<u8").view("<u2").reshape(size, -1)
            weights[:, 1:] = torch.from_numpy(self._counts[uniform[:, : self.replicates]])
        return weights


def _inverse_distribution() -> np.ndarray:
    """The Poisson(1) count of each 16-bit uniform number, (65536,): a look-up is fifteen times faster than a Poisson generator."""
    cumulative = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(9)])
    return np.searchsorted(cumulative, (np.arange(65536) + 0.5) / 65536, side="right").astype(np.float64)

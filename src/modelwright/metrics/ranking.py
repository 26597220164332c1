"""Ranking: the area under the ROC curve, from streamed histograms of log-odds.

Legend: B batch, S scored classes, G groups of a coarse histogram, R replicates.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modelwright.metrics.estimate import Estimate, Z, effective_trials, exactly, wilson

_CELLS = 2**18
"""Cells of the fine histograms of all classes together; 2 MB for each outcome."""
_FEWEST, _MOST = 512, 2**16
"""Bounds on the bins of one class."""
_REACH = 10.0
"""asinh(log-odds / 4) is binned within plus and minus this: log-odds up to 44,000, steps of 0.005 about zero with 10 classes."""
_EDGES = 64
"""Coarse edges of each sort: quantiles of the first batch, and even steps."""
_REPLICATE_CELLS = 2**23
"""Numbers in all coarse histograms together, 64 MB; beyond it there are fewer replicates."""


class RankingSums:
    """Histograms of the log-odds of each scored class, apart for examples of that class and of the others.

    The area itself comes from fine bins, of equal width in asinh(log-odds / 4); pairs within a bin count one half. Its spread comes from
    replicates of coarse bins, whose edges are fixed by the first batch.

    Args:
        classes: number of classes; of two only the second is scored.
        replicates: R; fewer are kept beyond a few hundred classes, to bound the memory.
    """

    def __init__(self, classes: int, replicates: int) -> None:
        self._scored = 1 if classes == 2 else classes
        bins = 2 ** int(math.log2(max(1, _CELLS // self._scored)))
        self._bins = min(max(bins, _FEWEST), _MOST)
        self._fine = torch.zeros(self._scored * 2 * self._bins, dtype=torch.float64)
        groups = 2 * (2 * _EDGES + 1)
        self._replicates = min(replicates, max(20, _REPLICATE_CELLS // (self._scored * groups)))
        self._coarse_SGR = torch.zeros(self._scored, groups if self._replicates else 0, self._replicates, dtype=torch.float64)
        self._edges_S: list[Tensor] = []

    def update(self, log_odds: Tensor, target: Tensor, weights: Tensor) -> None:
        """Take in the `log_odds` (B, S), the `target` (B,) class indices and the `weights` (B, 1 + R)."""
        u_BS = torch.asinh(log_odds / 4).clamp(-_REACH, _REACH)
        first = 1 if self._scored == 1 else 0
        member_BS = (target[:, None] == torch.arange(first, first + self._scored)).long()
        bin_BS = ((u_BS + _REACH) * (self._bins / (2 * _REACH))).long().clamp_(max=self._bins - 1)
        cell_BS = (torch.arange(self._scored) * 2 + member_BS) * self._bins + bin_BS
        cell = cell_BS.flatten()
        self._fine.index_add_(0, cell, torch.ones_like(cell, dtype=torch.float64))
        if not self._replicates:
            return
        if not self._edges_S:
            self._edges_S = [_coarse_edges(u) for u in u_BS.unbind(1)]
        drawn = weights[:, 1 : 1 + self._replicates]
        for s, edges in enumerate(self._edges_S):
            group = torch.bucketize(u_BS[:, s].contiguous(), edges) + member_BS[:, s] * (2 * _EDGES + 1)
            self._coarse_SGR[s].index_add_(0, group, drawn)

    def estimate(self) -> Estimate | None:
        """The area, averaged over the classes that have both members and others; None if there is none.

        The interval is the score interval for the bootstrap's variance. It is never nearer to 1 than this: as many as Z² / (m + Z²) of the
        m members (or others, if fewer) may be of a sort that was not seen, and be ranked at random.
        """
        fine = self._fine.view(self._scored, 2, self._bins)
        rarer_S = fine.sum(2).amin(1)
        defined_S = rarer_S > 0
        if not defined_S.any():
            return None
        value = float(_area(fine[:, 1], fine[:, 0])[defined_S].mean())
        if not self._replicates:
            return exactly(value)
        coarse = self._coarse_SGR.view(self._scored, 2, -1, self._replicates).movedim(2, 3)
        replicates = _area(coarse[:, 1], coarse[:, 0])[defined_S].nanmean(0)
        interval = wilson(value, effective_trials(value, replicates)) if 0 < value < 1 else exactly(value)
        m = float(defined_S.sum() ** 2 / (1 / rarer_S[defined_S]).sum())
        unseen = Z * Z / (2 * (m + Z * Z))
        return Estimate(value, min(interval.low, 1 - unseen), max(interval.high, unseen))


def _coarse_edges(u: Tensor) -> Tensor:
    """Edges (2 * _EDGES,) for `u` (B,): even steps, and the quantiles of this first batch, lest its scores all lie within one step."""
    even = torch.linspace(-_REACH / 2, _REACH / 2, _EDGES, dtype=u.dtype)
    quantiles = torch.quantile(u, torch.linspace(0, 1, _EDGES, dtype=u.dtype))
    return torch.cat([even, quantiles]).sort().values


def _area(members: Tensor, others: Tensor) -> Tensor:
    """The area under the ROC curve from counts by increasing score: (..., bins) twice -> (...); NaN where one of them is empty.

    It is the share of pairs of a member and an other in which the member has the higher score, ties counting one half (Mann-Whitney U).
    """
    below = others.cumsum(-1) - others / 2
    return (members * below).sum(-1) / (members.sum(-1) * others.sum(-1))

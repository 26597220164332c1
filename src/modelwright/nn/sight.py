"""Sight: where the positions of one pass lie and what each may look at; made once, the same for all layers.

B batch, T time of the queries, S time of the keys, H heads, N keys of a ring buffer that are in use.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from modelwright.nn.cache import Cache
from modelwright.nn.positions import Places, Turn


class Sight(NamedTuple):
    """What a layer of attention needs to know of a pass.

    Attributes:
        mask: broadcast to (B, H, T, S): True where a key may be attended to, or numbers that are added to the scores. It says nothing of
            the order of a causal layer or of its window, which the layer knows.
        turn: by what queries and keys are turned, or None.
        start: with a cache, how many tokens each row has read before; None where the rows differ.
        lengths: with a cache whose rows differ, the same as (B,), on the device.
        reach: with a cache and one new token, N, the slots that hold what this token may look at.
    """

    mask: Tensor | None = None
    turn: Turn | None = None
    start: int | None = 0
    lengths: Tensor | None = None
    reach: int = 0

    @property
    def places(self) -> Places:
        """Where the positions of the pass lie: those of each row follow what it has read."""
        if self.start is not None:
            return self.start
        assert self.lengths is not None, "rows that differ have lengths"
        return self.lengths[:, None]


EVERYTHING = Sight()
"""Every position may look at every other, without telling them by their place."""


def document_places(documents_BT: Tensor) -> Tensor:
    """Of each position (B, T), how far it is from where its document begins."""
    place_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    begins_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    begins_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    return place_T - torch.where(begins_BT, place_T, 0).cummax(dim=1).values


def alibi(slopes_H: Tensor, distance: Tensor) -> Tensor:
    """What ALiBi adds to the scores, (..., H, T, S) of distances (..., T, S); Press et al. 2022, section 3."""
    return -slopes_H[:, None, None] * distance.unsqueeze(-3)


def whole(mask_BT: Tensor | None, documents_BT: Tensor | None, time: int, slopes_H: Tensor | None) -> Tensor | None:
    """The mask of a pass without a cache.

    Args:
        mask_BT: (B, T), True where a position is real.
        documents_BT: (B, T), equal within a document, outside of which nothing is attended to.
        time: T.
        slopes_H: (H,) of ALiBi, or None.

    Returns:
        As in `Sight`, or None if everything may be attended to alike.
    """
    allowed = None if mask_BT is None else mask_BT[:, None, None, :]
    if documents_BT is not None:
        same_B1TS = (documents_BT[:, :, None] == documents_BT[:, None, :])[:, None]
        allowed = same_B1TS if allowed is None else same_B1TS & allowed
    if slopes_H is None:
        return allowed
    place_T = torch.arange(time, device=slopes_H.device)
    bias_HTS = alibi(slopes_H, (place_T[:, None] - place_T).abs())
    return bias_HTS[None] if allowed is None else bias_HTS.masked_fill(~allowed, -torch.inf)


def onward(cache: Cache, time: int, slots: int, slopes_H: Tensor | None, device: torch.device) -> Sight:
    """The sight of `time` new tokens after those that the rows of a cache have read; `turn` is left open.

    Args:
        cache: whose rings have S `slots`.
        time: T; where the rows have read unequal numbers, 1.
        slots: S.
        slopes_H: (H,) of ALiBi, or None.
        device: of the rings.
    """
    assert cache.longest + time <= cache.capacity, f"{cache.longest} + {time} tokens, and {cache.capacity} at most"
    start = cache.start
    if time > 1:
        assert start is not None, "rows of different lengths go on by one token at a time"
        return Sight(_after(start, time, min(start, slots), slopes_H), start=start)
    if start is not None:
        reach = min(start + 1, slots)
        if slopes_H is None:
            return Sight(start=start, reach=reach)
        slot_N = torch.arange(reach, device=device)
        return Sight(alibi(slopes_H, ((start - slot_N) % slots)[None])[None], start=start, reach=reach)
    lengths_B = cache.lengths.to(device)
    reach = min(cache.longest + 1, slots)
    slot_N = torch.arange(reach, device=device)
    # A ring that has gone round is in use up to its last slot.
    used_B11N = (slot_N <= lengths_B[:, None])[:, None, None]
    if slopes_H is None:
        return Sight(used_B11N, start=None, lengths=lengths_B, reach=reach)
    bias_BH1N = alibi(slopes_H, ((lengths_B[:, None] - slot_N) % slots)[:, None])
    return Sight(bias_BH1N.masked_fill(~used_B11N, -torch.inf), start=None, lengths=lengths_B, reach=reach)


def _after(start: int, time: int, kept: int, slopes_H: Tensor | None) -> Tensor | None:
    """The bias of `time` tokens that look at the last `kept` of `start` and at themselves."""
    if slopes_H is None:
        return None
    query_T = torch.arange(start, start + time, device=slopes_H.device)
    key_S = torch.arange(start - kept, start + time, device=slopes_H.device)
    return alibi(slopes_H, (query_T[:, None] - key_S).abs())[None]

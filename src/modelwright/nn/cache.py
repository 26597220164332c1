"""The cache: what a causal network keeps of the tokens that it has read, so that the next ones cost no second reading.

B batch (rows), T time of new tokens, S slots of a ring buffer, H key heads, K width of a head, D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What one layer keeps: tensors whose first dimension is the rows, written in place."""


class Cache:
    """The states of all layers, and how many tokens each row has read.

    A backbone appends what its layers need when it makes a cache (`Backbone.new_cache`), reads and writes `layers` in place while it goes
    forward, and calls `advance` once at the end.

    Args:
        rows: B, sequences that are read side by side.
        capacity: the most tokens that a row may come to.
        layers: the state of each layer.
        lengths: (B,) int64 on the CPU; by default all rows are empty.
    """

    def __init__(self, rows: int, capacity: int, layers: Iterable[State] = (), lengths: Tensor | None = None) -> None:
        self.rows, self.capacity = rows, capacity
        self.layers = list(layers)
        self.lengths = torch.zeros(rows, dtype=torch.int64, device="cpu") if lengths is None else lengths
        assert self.lengths.shape == (rows,), self.lengths.shape

    @property
    def start(self) -> int | None:
        """How many tokens every row has read, or None where the rows differ."""
        lengths = self.lengths.tolist()
        return lengths[0] if lengths.count(lengths[0]) == len(lengths) else None

    @property
    def longest(self) -> int:
        """How many tokens the longest row has read."""
        return max(self.lengths.tolist())

    def advance(self, tokens: int) -> None:
        """Every row has read `tokens` more."""
        self.lengths += tokens

    def row(self, index: int) -> Self:
        """A cache of one row, B = 1, that shares its memory with this one: what is written there is written here."""
        part = slice(index, index + 1)
        return self._of(1, [tuple(tensor[part] for tensor in state) for state in self.layers], self.lengths[part])

    def first(self, rows: int) -> Self:
        """A cache of the first rows, which shares its memory with this one: what is written there is written here."""
        return self._of(rows, [tuple(tensor[:rows] for tensor in state) for state in self.layers], self.lengths[:rows])

    def copy_row(self, source: int, target: int) -> None:
        """Let the row `target` have read what the row `source` has."""
        self.lengths[target] = self.lengths[source]
        for state in self.layers:
            for tensor in state:
                tensor[target].copy_(tensor[source])

    def select(self, index: Tensor) -> Self:
        """A new cache of the rows that `index` (B',) names, in its order, with memory of its own; a row may be taken several times."""
        layers = [tuple(tensor.index_select(0, index.to(tensor.device)) for tensor in state) for state in self.layers]
        return self._of(len(index), layers, self.lengths.index_select(0, index.cpu()))

    def reset(self) -> None:
        """Empty every row; rings forget by their lengths, recurrent states are zeroed."""
        self.lengths.zero_()
        for state in self.layers:
            for tensor in state:
                tensor.zero_()

    def _of(self, rows: int, layers: list[State], lengths: Tensor) -> Self:
        return type(self)(rows, self.capacity, layers, lengths)


def state_dtype(module: nn.Module) -> tuple[torch.dtype, torch.device]:
    """The type and the device in which `module` should keep its states.

    That is the type of its weights, or of autocast where that is on; but float32 on a CPU, whose kernels read a single query's keys
    3 times as fast in float32 as in half precision (PyTorch 2.13). A module without parameters has weights that are packed for a CPU.
    """
    weight = next(module.parameters(), None)
    if weight is None:
        return torch.float32, torch.device("cpu")
    kind = weight.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    return torch.float32 if kind == "cpu" and dtype.itemsize < 4 else dtype, weight.device


def ring(rows: int, heads: int, slots: int, head_width: int, *, dtype: torch.dtype, device: torch.device) -> State:
    """Empty keys and values (B, H, S, K) of the last `slots` tokens: the token at position p lies in slot p mod S."""
    shape = (rows, heads, slots, head_width)
    return torch.zeros(shape, dtype=dtype, device=device), torch.zeros(shape, dtype=dtype, device=device)


def write_one(state: State, key_BH1K: Tensor, value_BH1K: Tensor, start: int | None, lengths: Tensor | None) -> None:
    """Put the next token of every row into its ring.

    Args:
        state: of `ring`.
        key_BH1K: (B, H, 1, K).
        value_BH1K: (B, H, 1, K).
        start: how many tokens each row has read before, or None where the rows differ.
        lengths: in that case the same as (B,), on the device of the ring.
    """
    slots = state[0].shape[2]
    for ring_BHSK, new_BH1K in zip(state, (key_BH1K, value_BH1K), strict=True):
        if lengths is None:
            assert start is not None
            ring_BHSK.narrow(2, start % slots, 1).copy_(new_BH1K)
        else:
            ring_BHSK[torch.arange(len(lengths), device=lengths.device), :, lengths % slots] = new_BH1K[:, :, 0].to(ring_BHSK.dtype)


def write_many(state: State, key_BHTK: Tensor, value_BHTK: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """Put T tokens into the rings of rows that have all read `start`, and give what these tokens may look at.

    Returns:
        Keys and values (B, H, N, K) in order of position: the last N - T that the ring still held, then the T new ones.
    """
    slots, time = state[0].shape[2], key_BHTK.shape[2]
    if start + time <= slots:
        for ring_BHSK, new_BHTK in zip(state, (key_BHTK, value_BHTK), strict=True):
            ring_BHSK[:, :, start : start + time] = new_BHTK
        return state[0][:, :, : start + time], state[1][:, :, : start + time]
    kept = min(start, slots)
    old = torch.arange(start - kept, start, device=key_BHTK.device) % slots
    fresh = min(time, slots)
    new = torch.arange(start + time - fresh, start + time, device=key_BHTK.device) % slots
    seen = []
    for ring_BHSK, new_BHTK in zip(state, (key_BHTK, value_BHTK), strict=True):
        new_BHTK = new_BHTK.to(ring_BHSK.dtype)
        seen.append(torch.cat((ring_BHSK[:, :, old], new_BHTK), dim=2))
        ring_BHSK[:, :, new] = new_BHTK[:, :, time - fresh :]
    return seen[0], seen[1]

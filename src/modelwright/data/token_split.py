"""A split of a text: windows of tokens, read from disk as they are asked for.

Letters: B batch, T tokens of a window (the context), L tokens of a store, N windows of the split, K windows of an evaluation, V different tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from modelwright.core.batch import IGNORED, Batch
from modelwright.core.errors import InputError
from modelwright.core.schema import Schema
from modelwright.data.corpus.store import TokenStore
from modelwright.data.split import Split

Packing = Literal["continuous", "separate"]

LARGEST_INPUT = 1 << 14
"""Tokens of an evaluation's batch, at most, unless one row has more: enough to fill a product of matrices."""
LARGEST_OUTPUT = 1 << 25
"""Logits of an evaluation's batch, at most, unless one row has more: 128 MiB in float32."""


class TokenSplit(Split):
    """Windows over one or several token stores.

    Training takes N windows that follow each other; what is asked for is the next token, so that the target of a window is the same window
    one token later. Evaluation goes over windows that overlap, so that every token but the very first is scored once, and after the first
    window with at least `T - stride` tokens before it. There are no `inputs`, `target` and `origins` in memory as an ordinary split has them.

    Args:
        schema: of a text.
        stores: with at least two tokens each.
        packing: `separate` adds `documents` to the inputs, so that attention stays within a document.
        weights: shares of the stores in the N windows; None: as long as they are.
        stride: tokens that each window of an evaluation scores; None: half a window.

    Raises:
        InputError: a store has fewer than two tokens.
    """

    def __init__(
        self,
        schema: Schema,
        stores: Sequence[TokenStore],
        *,
        packing: Packing = "continuous",
        weights: Sequence[float] | None = None,
        stride: int | None = None,
    ) -> None:
        if not stores or min(store.tokens for store in stores) < 2:
            raise InputError("the split holds fewer than two tokens", expected="text to learn from")
        self.schema, self.stores = schema, tuple(stores)
        self.packing: Packing = packing
        self.context = schema.text.shape[0]
        self.weights = None if weights is None else tuple(weights)
        self.stride = min(stride or max(1, self.context // 2), self.context)
        # A store shorter than a window is one shorter window.
        self._lengths = np.array([min(self.context, store.tokens - 1) for store in stores])
        self._spans = np.array([store.tokens - 1 for store in stores])
        whole = self._spans // self._lengths
        self._counts = whole if weights is None else shares(int(whole.sum()), np.array(weights, dtype=np.float64))
        self._steps = np.ones(len(stores)) if weights is None else self._spans / (self._counts * self._lengths)
        self._scored = np.array([1 + max(0, -(-(span - self.context) // self.stride)) for span in self._spans])
        self._chosen: np.ndarray | None = None
        self._judged: np.ndarray | None = None

    def __len__(self) -> int:
        """N: windows of an epoch."""
        return int(self._counts.sum()) if self._chosen is None else len(self._chosen)

    @property
    def judged(self) -> int:
        """Windows of an evaluation, more than those of an epoch because they overlap."""
        return int(self._scored.sum()) if self._judged is None else len(self._judged)

    @property
    def tokens(self) -> int:
        """Tokens of all stores, separators included."""
        return sum(store.tokens for store in self.stores)

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the text of all stores."""
        return sum(store.bytes for store in self.stores)

    @property
    def documents(self) -> int:
        """Documents of all stores."""
        return sum(store.documents for store in self.stores)

    def take(self, index: Tensor | slice, shift: int = 0) -> tuple[dict[str, Tensor], Tensor | None]:
        """The windows at `index`, positions (B,) or a slice, as `tokens` (B, T) and their targets (B, T).

        Args:
            index: numbers of windows.
            shift: by how many tokens, modulo T, all windows begin later; the last one stays where it is.
        """
        places = np.arange(len(self))[index] if isinstance(index, slice) else index.numpy()
        if self._chosen is not None:
            places = self._chosen[places]
        homes = np.searchsorted(np.cumsum(self._counts), places, side="right")
        local = places - (np.cumsum(self._counts) - self._counts)[homes]
        lengths = self._lengths[homes]
        starts = np.floor((local * lengths + shift % self.context % lengths) * self._steps[homes]).astype(np.int64)
        tokens = torch.from_numpy(
            self._read(homes, np.minimum(starts, self._spans[homes] - lengths), int(lengths.min(initial=self.context)))
        )
        return self._pair(tokens)

    def _pair(self, tokens: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Inputs and targets of windows (B, T+1)."""
        inputs = {"tokens": tokens[:, :-1].contiguous()}
        if self.packing == "separate":
            inputs["documents"] = torch.from_numpy(self.stores[0].document_ids(inputs["tokens"].numpy()))
        return inputs, tokens[:, 1:].clone(memory_format=torch.contiguous_format)

    def _read(self, homes: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
        """(B, length + 1) tokens at `starts` (B,) of the stores `homes` (B,)."""
        if len(self.stores) == 1:
            return self.stores[0].windows(starts, length + 1)
        out = np.empty((len(starts), length + 1), dtype=np.int64)
        for home in np.unique(homes):
            out[homes == home] = self.stores[home].windows(starts[homes == home], length + 1)
        return out

    def finish(self, inputs: dict[str, Tensor], target: Tensor | None) -> Batch:
        """The batch; nothing is left to be encoded."""
        return Batch(inputs, target)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All tokens once, in order, for an evaluation; `IGNORED` is the target of those that another window scores.

        Args:
            batch_size: most windows at a time; fewer where tokens (B, T) or logits (B, T, V) would be many.
        """
        windows = np.arange(int(self._scored.sum())) if self._judged is None else self._judged
        rows = windows_at_once(self.schema, batch_size)
        homes = np.searchsorted(np.cumsum(self._scored), windows, side="right")
        for home in np.unique(homes):
            local = windows[homes == home] - (np.cumsum(self._scored) - self._scored)[home]
            for first in range(0, len(local), rows):
                yield self._judge(int(home), local[first : first + rows])

    def _judge(self, home: int, windows: np.ndarray) -> Batch:
        """The batch of an evaluation's windows (B,) of one store."""
        length, span = int(self._lengths[home]), int(self._spans[home])
        starts = np.minimum(windows * self.stride, span - length)
        inputs, target = self._pair(torch.from_numpy(self.stores[home].windows(starts, length + 1)))
        # Window k scores up to the target min(k * stride + T, span); what the one before has scored is left out.
        done = np.where(windows > 0, np.minimum((windows - 1) * self.stride + length, span), 0)
        seen = np.arange(length) + starts[:, None] < done[:, None]
        return self.finish(inputs, target.masked_fill(torch.from_numpy(seen), IGNORED))

    def sample(self, size: int) -> TokenSplit:
        """At most `size` windows, evenly spread; an evaluation of it scores the same share of the tokens, with as much before each."""
        if len(self) <= size:
            return self
        part = TokenSplit(self.schema, self.stores, packing=self.packing, weights=self.weights, stride=self.stride)
        every = np.arange(int(part._counts.sum())) if self._chosen is None else self._chosen
        judged = np.arange(int(part._scored.sum())) if self._judged is None else self._judged
        part._chosen = every[spread(len(every), size)]
        part._judged = judged[spread(len(judged), max(1, round(size * len(judged) / len(every))))]
        return part

    def update_digest(self, digest: Any) -> None:
        """Feed all that decides the windows to a hash of `hashlib`."""
        digest.update(f"{self.context} {self.packing} {self.weights}".encode())
        for store in self.stores:
            digest.update(store.digest.encode())


def windows_at_once(schema: Schema, most: int) -> int:
    """At most so many windows; fewer, at least one, where tokens (B, T) or logits (B, T, V) would be many."""
    tokens = min(LARGEST_INPUT, LARGEST_OUTPUT // schema.target.vocabulary)
    return max(1, min(most, tokens // schema.text.shape[0]))


def spread(count: int, size: int) -> np.ndarray:
    """(size,) increasing numbers below `count`, evenly spread from the first to the last."""
    return np.linspace(0, count - 1, min(size, count)).astype(np.int64)


def shares(total: int, weights: np.ndarray) -> np.ndarray:
    """(W,) int64: `total` divided in proportion to `weights` (W,) by largest remainder, at least 1 each."""
    exact = total * weights / weights.sum()
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    return np.maximum(counts, 1)

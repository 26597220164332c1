"""The slots: rows of a cache that texts come into and leave while the others are read on.

Letters: B batch (rows in use), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modelwright.serving.generation import Generator
from modelwright.serving.precision import Prepared
from modelwright.serving.reader import Windows

WARM_UP = 256
"""Tokens that a network without a limit reads to warm up."""


class Slots:
    """A reader of up to `rows` texts, the first B rows of one cache; a text that leaves is replaced by the last one.

    Each row is read as `CachedReader` reads a text alone: its prompt by itself, then token by token.

    Args:
        generator: whose network reads.
        prepared: the network in its number format.
        rows: the most texts at once.
        longest: the most tokens of a text, its prompt included.
    """

    def __init__(self, generator: Generator, prepared: Prepared, *, rows: int, longest: int) -> None:
        self._network, self._scores = prepared.network, prepared.scores
        self._device = prepared.network.output_weight().device
        self._windows = Windows([], generator.limit)
        self._cache = prepared.network.new_cache(rows, longest if generator.limit is None else min(longest, generator.limit))

    def __len__(self) -> int:
        return len(self._windows.histories)

    @property
    def free(self) -> int:
        """How many texts more there is room for."""
        return self._cache.rows - len(self)

    def warm_up(self) -> None:
        """Fill all rows once and empty them: the memory that they will need is asked for now, and the first text is no slower than the others."""
        assert not len(self), "nobody is read yet"
        capacity = self._cache.capacity if self._windows.context is not None else min(self._cache.capacity, WARM_UP)
        self.add([0] * max(1, capacity - 1), self.free)
        if capacity > 1:
            self.read([0] * len(self))
        while len(self):
            self.remove(len(self) - 1)

    def add(self, prompt: Sequence[int], copies: int = 1) -> Tensor:
        """Read a prompt once, into `copies` rows after the others: scores (1, V) float32 of what comes next."""
        row = len(self)
        self._cache.row(row).reset()
        scores_1V = self._forward([list(prompt)], row, row + 1)
        for copy in range(row + 1, row + copies):
            self._cache.copy_row(row, copy)
        for _ in range(copies):
            self._windows.append(prompt)
        return scores_1V

    def read(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token of each text: scores (B, V) float32."""
        for row in self._windows.add(tokens):
            self._cache.row(row).reset()
            if before := self._windows.seen(row)[:-1]:
                self._forward([before], row, row + 1)
        return self._forward([[token] for token in tokens], 0, len(tokens))

    def remove(self, row: int) -> None:
        """A text leaves, and the last one takes its row."""
        last = len(self) - 1
        if row != last:
            self._cache.copy_row(last, row)
        self._windows.select([*range(row), *([last] if row != last else []), *range(row + 1, last)])

    def _forward(self, tokens: list[list[int]], begin: int, end: int) -> Tensor:
        """Read on in the rows from `begin` to `end`: the scores after the last token of each."""
        cache = self._cache.row(begin) if end == begin + 1 else self._cache.first(end)
        hidden_BTE = self._network.hidden({"tokens": torch.tensor(tokens, device=self._device)}, cache)
        return self._scores(hidden_BTE[:, -1]).float()

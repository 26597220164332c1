"""The reader: goes through the tokens of several texts with a network and tells the scores of what comes next.

Letters: B batch (rows), T time, V vocabulary, C context.

A network reads at most C tokens back, those it was trained on. A text that grows longer is read again from its last C / 2 tokens, as often as
needed, which costs about one more reading of each token in a batch. Letting a ring of keys forget the first tokens would be cheaper and much
worse: networks put attention on these whatever they say (Xiao et al. 2024, Efficient streaming language models with attention sinks, figure 3).
A network whose memory is of one size whatever it has read, recurrent or with windows, goes on for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from modelwright.models.network import Network
from modelwright.nn.cache import Cache

Scores = Callable[[Tensor], Tensor]
"""The last states (B, E) of a network -> scores (B, V) of the next token."""


class Reader(Protocol):
    """What generation needs: rows of tokens that grow, each with the scores of what may come next."""

    @property
    def histories(self) -> list[list[int]]:
        """All tokens of each row."""
        ...

    def start(self) -> Tensor:
        """Read the histories: scores (B, V) float32."""
        ...

    def read(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token of each row: scores (B, V) float32."""
        ...

    def select(self, index: Sequence[int]) -> None:
        """Go on with these rows, in this order; a row may be taken several times."""
        ...


def scores_of(network: Network) -> Scores:
    """The network's own projection to the scores."""
    table = network.output_weight()
    return lambda hidden_BE: network.head.project(hidden_BE, table)  # type: ignore[union-attr]


class Windows:
    """Which tokens of each row the network sees: all of them, or after C the last C / 2 and what follows.

    Args:
        histories: the tokens of each row.
        context: C; None for a network without a limit.
    """

    def __init__(self, histories: Sequence[Sequence[int]], context: int | None) -> None:
        self.histories = [list(history) for history in histories]
        self.context = context
        self.starts = [0] * len(self.histories)

    def add(self, tokens: Sequence[int]) -> list[int]:
        """Append a token to each row; gives the rows whose window is moved for it."""
        moved = []
        for row, (history, token) in enumerate(zip(self.histories, tokens, strict=True)):
            history.append(token)
            if self.context is not None and len(history) - self.starts[row] > self.context:
                self.starts[row] = len(history) - 1 - self.context // 2
                moved.append(row)
        return moved

    def append(self, history: Sequence[int]) -> None:
        """One more row."""
        self.histories.append(list(history))
        self.starts.append(0)

    def seen(self, row: int) -> list[int]:
        """The tokens of a row that are in its window."""
        return self.histories[row][self.starts[row] :]

    def select(self, index: Sequence[int]) -> None:
        """Go on with these rows."""
        self.histories = [list(self.histories[row]) for row in index]
        self.starts = [self.starts[row] for row in index]


class CachedReader:
    """Reads every token once, and keeps what the network needs of it.

    Args:
        network: tells the next token.
        histories: the tokens of each row, at least one.
        context: C; None for a network without a limit.
        new_tokens: the most tokens that will be read after them.
        scores: how states become scores; None is the network's own way.
    """

    def __init__(
        self, network: Network, histories: Sequence[Sequence[int]], *, context: int | None, new_tokens: int, scores: Scores | None = None
    ) -> None:
        self._network, self._scores = network, scores or scores_of(network)
        self._device = network.output_weight().device
        self._windows = Windows(histories, context)
        longest = max(map(len, histories)) + new_tokens
        self._capacity = longest if context is None else min(longest, context)
        self._cache: Cache | None = None

    @property
    def histories(self) -> list[list[int]]:
        """All tokens of each row."""
        return self._windows.histories

    def start(self) -> Tensor:
        """Read the histories, equal ones once: scores (B, V) float32."""
        keys = [tuple(history) for history in self.histories]
        unique = list(dict.fromkeys(keys))
        cache = self._network.new_cache(len(unique), self._capacity)
        if len({len(key) for key in unique}) == 1:
            scores_BV = self._forward(torch.tensor(unique), cache)
        else:
            scores_BV = torch.cat([self._forward(torch.tensor([key]), cache.row(row)) for row, key in enumerate(unique)])
        if len(unique) < len(keys):
            index = torch.tensor([unique.index(key) for key in keys])
            cache, scores_BV = cache.select(index), scores_BV[index.to(self._device)]
        self._cache = cache
        return scores_BV

    def read(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token of each row: scores (B, V) float32."""
        assert self._cache is not None, "start comes first"
        for row in self._windows.add(tokens):
            alone = self._cache.row(row)
            alone.reset()
            if before := self._windows.seen(row)[:-1]:
                self._network.hidden({"tokens": torch.tensor([before], device=self._device)}, alone)
        return self._forward(torch.tensor(tokens)[:, None], self._cache)

    def select(self, index: Sequence[int]) -> None:
        """Go on with these rows, in this order."""
        assert self._cache is not None, "start comes first"
        self._windows.select(index)
        self._cache = self._cache.select(torch.tensor(index))

    def _forward(self, tokens_BT: Tensor, cache: Cache) -> Tensor:
        """Read on: the scores after the last of the tokens."""
        hidden_BTE = self._network.hidden({"tokens": tokens_BT.to(self._device)}, cache)
        return self._scores(hidden_BTE[:, -1]).float()


class PlainReader:
    """Reads every window anew for each token, without a cache: what the cached reader must equal.

    Args:
        network: tells the next token.
        histories: the tokens of each row, at least one.
        context: C; None for a network without a limit.
        scores: how states become scores; None is the network's own way.
    """

    def __init__(self, network: Network, histories: Sequence[Sequence[int]], *, context: int | None, scores: Scores | None = None) -> None:
        self._network, self._windows = network, Windows(histories, context)
        self._scores = scores or scores_of(network)
        self._reached = 0

    @property
    def histories(self) -> list[list[int]]:
        """All tokens of each row."""
        return self._windows.histories

    def start(self) -> Tensor:
        """Scores (B, V) float32 after what is in the windows now."""
        device = self._network.output_weight().device
        seen = [self._windows.seen(row) for row in range(len(self.histories))]
        longest = max(map(len, seen))
        if longest > self._reached:
            # Positions that can be computed reach as far as a cache was ever asked to.
            self._reached = 2 * longest if self._windows.context is None else self._windows.context
            self._network.new_cache(1, self._reached)
        last = [self._network.hidden({"tokens": torch.tensor([row], device=device)})[:, -1] for row in seen]
        return self._scores(torch.cat(last)).float()

    def read(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token of each row: scores (B, V) float32."""
        self._windows.add(tokens)
        return self.start()

    def select(self, index: Sequence[int]) -> None:
        """Go on with these rows, in this order."""
        self._windows.select(index)

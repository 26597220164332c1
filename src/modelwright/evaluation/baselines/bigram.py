"""The bigram baseline: the next token by the one before it, as counted in the training text.

V vocabulary, B batch, T time, P pairs of tokens that were seen.
"""

from __future__ import annotations

import time
from typing import Literal

import torch
from torch import Tensor

from modelwright.core.batch import IGNORED
from modelwright.core.schema import Schema
from modelwright.evaluation.baseline import BaselineConfig, LabeledBatches, baselines
from modelwright.evaluation.evaluate import PredictFunction
from modelwright.tasks.task import Task

MOST_TOKENS = 20_000_000
"""Tokens that are counted at most."""


@baselines.register("bigram")
class BigramConfig(BaselineConfig):
    """Counts of pairs, mixed with the counts of single tokens (Witten and Bell 1991, The zero-frequency problem, method C)."""

    name: Literal["bigram"] = "bigram"  # pyright: ignore[reportIncompatibleVariableOverride]

    def suits(self, schema: Schema) -> bool:
        """Texts whose next token is asked for."""
        return schema.causal

    def fit(
        self, schema: Schema, task: Task, train: LabeledBatches, validation: LabeledBatches, *, seconds: float, seed: int = 0
    ) -> PredictFunction:
        """Count the pairs of `train`, all of them or as many as time allows."""
        vocabulary, deadline = schema.text.vocabulary, time.monotonic() + 0.5 * seconds
        keys: list[Tensor] = []
        for batch in train.batches(256):
            assert batch.target is not None
            tokens, target = batch.inputs["tokens"], batch.target
            scored = target != IGNORED
            keys.append(tokens[scored] * vocabulary + target[scored])
            if time.monotonic() > deadline or sum(map(len, keys)) > MOST_TOKENS:
                break
        return Bigram(torch.cat(keys), vocabulary)


class Bigram:
    """The next token's logarithmic probabilities by the token before.

    Args:
        keys: (N,) int64: for each pair of tokens that was seen, the first times V plus the second.
        vocabulary: V.
    """

    def __init__(self, keys: Tensor, vocabulary: int) -> None:
        single = torch.bincount(keys % vocabulary, minlength=vocabulary).double() + 1
        self.single_V = single / single.sum()
        pairs_P, counts_P = torch.unique(keys, return_counts=True)
        self.second_P, first_P = pairs_P % vocabulary, pairs_P // vocabulary
        seen_V = torch.bincount(keys // vocabulary, minlength=vocabulary).double()
        kinds_V = torch.bincount(first_P, minlength=vocabulary)
        # With so many kinds of followers in so many occurrences, the chance of a new one is kinds / (kinds + seen); 1 after a token never seen.
        self.new_V = kinds_V / (kinds_V + seen_V).clamp(min=1)
        self.new_V[seen_V == 0] = 1
        self.share_P = counts_P / (kinds_V + seen_V)[first_P]
        self.kinds_V, self.start_V = kinds_V, kinds_V.cumsum(0) - kinds_V

    def __call__(self, inputs: dict[str, Tensor]) -> Tensor:
        """`tokens` (B, T) -> (B, T, V) float32."""
        tokens = inputs["tokens"].flatten().cpu()
        table = self.new_V[tokens, None] * self.single_V
        lengths = self.kinds_V[tokens]
        row = torch.repeat_interleave(torch.arange(len(tokens)), lengths)
        within = torch.arange(len(row)) - torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
        pair = self.start_V[tokens][row] + within
        table[row, self.second_P[pair]] += self.share_P[pair]
        return table.log().float().view(*inputs["tokens"].shape, -1)

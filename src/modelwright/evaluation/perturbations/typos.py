"""Typos: characters of a text swapped, dropped, doubled or mistyped.

Letters: B batch, T tokens of a window, P of them before what is scored.
"""

from __future__ import annotations

import random as standard_random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Generator

from modelwright.core.batch import IGNORED, Batch
from modelwright.data.split import Split
from modelwright.data.token_split import windows_at_once
from modelwright.data.tokenizer import Tokenizer
from modelwright.evaluation.evaluate import Batches
from modelwright.evaluation.perturbation import PerturbationConfig, perturbations

ROWS = 16
"""Windows at a time, at most."""


@perturbations.register("typos")
class TyposConfig(PerturbationConfig):
    """Typos in what a model has read; what it is asked to foretell is the clean text that follows.

    So the score doesn't count that typos themselves can't be foretold, and it holds for every tokenizer: the text is decoded, mistyped and
    tokenized anew. A window's last quarter is scored, after half a window of text before it.
    """

    reads: ClassVar[str] = "text"
    title: ClassVar[str] = "typos"
    unit: ClassVar[str] = "share of characters mistyped"

    name: Literal["typos"] = "typos"  # pyright: ignore[reportIncompatibleVariableOverride]
    strengths: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)

    def perturb(self, split: Split, strength: float, random: Generator) -> Batches:
        """The windows with typos before their last quarter."""
        return Mistyped(split, strength, int(torch.randint(2**31, (1,), generator=random)))


@dataclass(frozen=True)
class Mistyped:
    """Windows of a text with typos in their first part."""

    split: Split
    strength: float
    seed: int

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Windows of half a context of mistyped text and a quarter of clean text, of which the clean one is scored."""
        tokenizer = Tokenizer.from_json(self.split.schema.text.tokenizer)
        random = standard_random.Random(self.seed)
        rows = windows_at_once(self.split.schema, min(batch_size, ROWS))
        for start in range(0, len(self.split), rows):
            inputs, target = self.split.take(torch.arange(start, min(start + rows, len(self.split))))
            assert target is not None, "the windows of a text have targets"
            whole = torch.cat([inputs["tokens"], target[:, -1:]], dim=1).numpy()
            scored = max(1, whole.shape[1] // 4)
            read = [self._mistyped(row[:-scored], tokenizer, random) for row in whole]
            length = min(whole.shape[1] // 2, *map(len, read))
            tokens = np.stack([np.concatenate([part[len(part) - length :], row[-scored:]]) for part, row in zip(read, whole, strict=True)])
            joined = torch.from_numpy(tokens.astype(np.int64))
            asked = joined[:, 1:].clone()
            asked[:, : length - 1] = IGNORED
            yield Batch({"tokens": joined[:, :-1].contiguous()}, asked)

    def _mistyped(self, tokens: np.ndarray, tokenizer: Tokenizer, random: standard_random.Random) -> np.ndarray:
        mistyped = np.asarray(tokenizer.encode(mistype(tokenizer.decode(tokens), self.strength, random)), dtype=np.int64)
        return mistyped if len(mistyped) else tokens


def mistype(text: str, share: float, random: standard_random.Random) -> str:
    """The text with a typo at about that share of its characters: swapped with the next, dropped, doubled, or another letter of the same text."""
    letters = sorted({character for character in text if character.isalpha()}) or [" "]
    out, place = [], 0
    while place < len(text):
        here = text[place]
        following = text[place + 1] if place + 1 < len(text) else ""
        kind = random.randrange(4) if random.random() < share else None
        if kind == 0 and following:
            out.append(following + here)
            place += 1
        elif kind == 2:
            out.append(here + here)
        elif kind == 3:
            out.append(random.choice(letters))
        elif kind != 1:
            out.append(here)
        place += 1
    return "".join(out)

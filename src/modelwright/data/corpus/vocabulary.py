"""Vocabulary: the tokenizer of a corpus, chosen, and trained on a sample of the training split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.reading import cut_before
from modelwright.data.corpus.tokenization import batches, by_part
from modelwright.data.tokenizer import Tokenizer, TokenizerConfig, tokenizers

MOST_BYTES_OF_CHARACTERS = 5_000_000
MOST_CHARACTERS = 256
"""Text of fewer bytes than these with no more different characters gets characters as tokens, if nothing else is wanted."""
PIECE_BYTES = 1 << 16
"""The library gathers some hundred texts before it looks at them: long ones are cut."""


def choose(segments: np.ndarray, parts: Sequence[Path]) -> TokenizerConfig:
    """The kind of tokenizer that suits a corpus whose configuration names none."""
    seen: set[str] = set()
    if int(segments["length"].sum()) < MOST_BYTES_OF_CHARACTERS:
        for text in _texts(segments, parts):
            seen.update(text)
    name = "characters" if 0 < len(seen) <= MOST_CHARACTERS else "bpe"
    return tokenizers[name](name=name)


def train(
    segments: np.ndarray, parts: Sequence[Path], config: CorpusConfig, progress: Callable[[int, int], None]
) -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer, and what to tell about it: its `name`, its `size`, and how many bytes it was trained on.

    It sees the training split only, unless its kind can't encode what it hasn't seen: then it sees all text.

    Raises:
        InputError: see `TokenizerConfig.train`.
    """
    kind = cast(TokenizerConfig, config.tokenizer) or choose(segments, parts)
    if kind.closed:
        chosen = segments
    else:
        training = segments[segments["split"] == 0]
        chosen = training[evenly(training["length"], config.tokenizer_sample)]
    total = int(chosen["length"].sum())
    seen = 0

    def texts() -> Iterator[str]:
        nonlocal seen
        for text in _texts(chosen, parts, None if kind.closed else config.tokenizer_sample):
            seen += len(text.encode())
            progress(min(seen, total), total)
            yield text

    tokenizer = kind.train(texts())
    return tokenizer, {"name": kind.name, "size": tokenizer.size, "trained_on_bytes": seen}


def evenly(sizes: np.ndarray, most: int) -> np.ndarray:
    """(n,) the numbers of texts of some sizes that together hold about `most` bytes, drawn at even distances; all, if they hold no more."""
    total = int(sizes.sum())
    if total <= most:
        return np.arange(len(sizes))
    # One text for each step of the running total, scaled to the sample: a text is taken where the scaled total crosses its middle.
    scaled = np.cumsum(sizes, dtype=np.float64) * (most / total)
    taken, chosen = 0, []
    for number, (end, size) in enumerate(zip(scaled.tolist(), sizes.tolist(), strict=True)):
        if taken + size / 2 <= end:
            chosen.append(number)
            taken += size
    return np.array(chosen or [0], dtype=np.int64)


def _texts(segments: np.ndarray, parts: Sequence[Path], most: int | None = None) -> Iterator[str]:
    """The texts of segments, long ones cut, up to `most` bytes."""
    left = most
    for part, begin, end in by_part(segments["part"]):
        for _, texts in batches(parts[part], segments[begin:end]):
            for text in texts:
                while text and (left is None or left > 0):
                    cut = cut_before(text, PIECE_BYTES) if len(text) > PIECE_BYTES else len(text)
                    yield text[:cut].decode()
                    text = text[cut:]
                    left = None if left is None else left - cut

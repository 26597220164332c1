"""Unigram tokens: a vocabulary of pieces with probabilities, pruned to size; a text gets its likeliest pieces (Kudo 2018, arXiv:1804.10959).

Letters: W words, P bytes of all words one after the other, L bytes of a word, M pieces, R the longest piece.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from pydantic import Field

from modelwright.core.errors import InputError
from modelwright.data.tokenizer import Codec, Tokenizer, TokenizerConfig, byte_alphabet, finished, import_tokenizers, tokenizers
from modelwright.data.wordwise import wordwise

WORD = re.compile(r"'(?:[stmd]|re|ve|ll)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")
"""Where GPT-2 cuts, but for some rare digits."""
MOST_WORDS = 100_000
"""Different words that are learnt from; those that are rarer than so many others don't matter."""
LONGEST_WORD = 20
"""Bytes; a longer word is learnt from in parts, so that no probability of one becomes too small for a float."""
LONGEST_PIECE = 16
SEEDS = 10
"""Pieces to begin with, for each that shall be left."""
KEPT = 0.75
"""Share of the pieces that each pruning leaves."""
PASSES = 2
"""Of expectation and maximization, before each pruning."""
SMALLEST = 1e-12
UNSEEN = 1e-3
"""A byte that stands in no word is so much less likely than the least likely piece."""


@tokenizers.register("unigram")
class UnigramConfig(TokenizerConfig):
    """Unigram pieces of bytes, cut at words as GPT-2 does; gives every text back unchanged."""

    name: Literal["unigram"] = "unigram"
    vocabulary_size: int = Field(default=8192, ge=258)
    """Tokens with the separator; fewer if the texts don't hold as many pieces."""

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Learn the pieces. The library's own trainer is not used: what it makes differs from run to run.

        Raises:
            InputError: the texts are empty.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(WORD.findall(text))
        if not counts:
            raise InputError("the texts are empty", expected="some to make a tokenizer of")
        lattice = Lattice(counts, SEEDS * self.vocabulary_size)
        target = self.vocabulary_size - 1
        while True:
            for _ in range(PASSES):
                lattice.improve()
            if len(lattice.lengths) <= target:
                break
            lattice.prune(max(target, int(KEPT * len(lattice.lengths))))
        alphabet = byte_alphabet()
        spelled = {"".join(alphabet[byte] for byte in piece): float(np.log(p)) for piece, p in lattice.pieces()}
        ranked = sorted(((round(score, 6), piece) for piece, score in spelled.items()), key=lambda row: (-row[0], row[1]))
        library = import_tokenizers()
        backend = library.Tokenizer(library.models.Unigram([(piece, score) for score, piece in ranked], None, False))
        backend.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = library.decoders.ByteLevel()
        return finished(backend)

    @classmethod
    def codec(cls, description: dict[str, Any], backend: Any) -> Codec | None:
        """Word by word."""
        return wordwise(description, backend, "unigram")


class Lattice:
    """All ways to cut the words into pieces, and the probabilities of the pieces; the first 256 are the single bytes, which always stay.

    Attributes:
        lengths: (M,) bytes of each piece.
        places: (M,) a place where each piece stands, -1 for a byte that stands nowhere.
        probabilities: (M,) of each piece.
        expected: (M,) how often each piece is used, over all ways to cut, weighted by their probabilities.
    """

    def __init__(self, counts: Counter[str], seeds: int) -> None:
        words = _parts(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_WORDS])
        ordered = sorted(words.items(), key=lambda item: (len(item[0]), item[0]))
        lengths = np.array([len(word) for word, _ in ordered])
        self._bytes = np.frombuffer(b"".join(word for word, _ in ordered), dtype=np.uint8).astype(np.int64)
        self._counts = np.array([count for _, count in ordered], dtype=np.float64)
        self._left = np.concatenate([np.arange(length, 0, -1) for length in lengths])
        self._groups = [(int(length), int((lengths < length).sum()), int((lengths == length).sum())) for length in np.unique(lengths)]
        self._offsets = np.cumsum(lengths) - lengths
        self._weights = np.repeat(self._counts, lengths)
        self._find(seeds)

    def _find(self, seeds: int) -> None:
        """Take the substrings that stand twice or more, those first that cover most bytes."""
        names = np.full((len(self._bytes), LONGEST_PIECE), -1, dtype=np.int64)
        names[:, 0] = self._bytes
        frequencies = [np.bincount(self._bytes, self._weights, minlength=256)]
        first = np.full(256, -1)
        first[self._bytes[::-1]] = np.arange(len(self._bytes))[::-1]
        places, lengths, total = [first], [np.ones(256, dtype=np.int64)], 256
        for length in range(2, LONGEST_PIECE + 1):
            here = np.flatnonzero((self._left >= length) & (names[:, length - 2] >= 0))
            keys = names[here, length - 2] * 256 + self._bytes[here + length - 1]
            _, at, inverse = np.unique(keys, return_index=True, return_inverse=True)
            frequency = np.bincount(inverse, self._weights[here], minlength=len(at))
            kept = frequency >= 2
            number = np.where(kept, total + np.cumsum(kept) - 1, -1)
            names[here, length - 1] = number[inverse]
            frequencies.append(frequency[kept])
            places.append(here[at[kept]])
            lengths.append(np.full(int(kept.sum()), length))
            total += int(kept.sum())
        self.lengths, self.places = np.concatenate(lengths), np.concatenate(places)
        self.expected = np.concatenate(frequencies)
        # A name that is -1 points at the last entry, which is one more than there are pieces.
        self._names = np.where(names < 0, total, names).astype(np.int32)
        self._keep(self.expected * self.lengths, seeds)
        self._maximize()

    def _keep(self, worth: np.ndarray, number: int) -> None:
        """Keep the bytes and the `number` pieces in all that are worth most, the earlier one of equals."""
        order = np.argsort(-worth[256:], kind="stable")[: max(0, number - 256)] + 256
        kept = np.concatenate([np.arange(256), np.sort(order)])
        moved = np.full(len(self.lengths) + 1, len(kept), dtype=np.int32)
        moved[kept] = np.arange(len(kept), dtype=np.int32)
        self._names = moved[self._names]
        self.lengths, self.places, self.expected = self.lengths[kept], self.places[kept], self.expected[kept]

    def _maximize(self) -> None:
        """Probabilities from expected uses: `exp(digamma(x))`, which prefers fewer pieces, is about `x - 1/2`."""
        used = np.maximum(self.expected - 0.5, 0)
        used[:256] = np.maximum(used[:256], self.expected[:256] / 2)
        self.probabilities = np.maximum(used / used.sum(), SMALLEST)

    def _blocks(self) -> Iterator[tuple[int, slice, np.ndarray, np.ndarray]]:
        """Length, rows, (W, L, R) names and (W, L, R) probabilities of the words of each length."""
        table = np.append(self.probabilities, 0.0)
        for length, first, number in self._groups:
            begin = int(self._offsets[first])
            names = self._names[begin : begin + number * length].reshape(number, length, LONGEST_PIECE)
            yield length, slice(first, first + number), names, table[names]

    def improve(self) -> None:
        """One pass of expectation (forwards and backwards through every word) and maximization."""
        expected = np.zeros(len(self.lengths) + 1)
        for length, rows, names, p in self._blocks():
            forward, backward = np.zeros((length + 1, len(names))), np.zeros((length + 1, len(names)))
            forward[0] = backward[length] = 1
            for end in range(1, length + 1):
                for size in range(1, min(end, LONGEST_PIECE) + 1):
                    forward[end] += forward[end - size] * p[:, end - size, size - 1]
            for begin in range(length - 1, -1, -1):
                for size in range(1, min(length - begin, LONGEST_PIECE) + 1):
                    backward[begin] += backward[begin + size] * p[:, begin, size - 1]
            scale = self._counts[rows] / forward[length]
            for begin in range(length):
                for size in range(1, min(length - begin, LONGEST_PIECE) + 1):
                    use = forward[begin] * p[:, begin, size - 1] * backward[begin + size] * scale
                    expected += np.bincount(names[:, begin, size - 1], use, minlength=len(expected))
        self.expected = expected[:-1]
        self._maximize()

    def prune(self, number: int) -> None:
        """Keep `number` pieces: those whose loss would make the words least likely, each cut into its best other pieces."""
        table = np.append(self.probabilities, 0.0)
        loss = np.zeros(len(self.lengths))
        for length in range(2, LONGEST_PIECE + 1):
            pieces = np.flatnonzero(self.lengths == length)
            best = np.zeros((length + 1, len(pieces)))
            best[0] = 1
            for end in range(1, length + 1):
                for size in range(1, min(end, length - 1) + 1):
                    name = self._names[self.places[pieces] + end - size, size - 1]
                    best[end] = np.maximum(best[end], best[end - size] * table[name])
            loss[pieces] = self.expected[pieces] * (np.log(self.probabilities[pieces]) - np.log(best[length]))
        self._keep(loss, number)
        self._maximize()

    def pieces(self) -> Iterator[tuple[bytes, float]]:
        """Each piece and its probability."""
        unseen = self.places < 0
        least = float(self.probabilities[~unseen].min()) * UNSEEN
        for number, (place, length) in enumerate(zip(self.places.tolist(), self.lengths.tolist(), strict=True)):
            if unseen[number]:
                yield bytes([number]), least
            else:
                yield self._bytes[place : place + length].astype(np.uint8).tobytes(), float(self.probabilities[number])


def _parts(words: list[tuple[str, int]]) -> Counter[bytes]:
    """The words as bytes, long ones in parts, with their counts."""
    parts: Counter[bytes] = Counter()
    for word, count in words:
        content = word.encode("utf-8", "replace")
        for start in range(0, len(content), LONGEST_WORD):
            parts[content[start : start + LONGEST_WORD]] += count
    return parts

"""Shingles: hashes of all sequences of n words of texts, computed for many texts at once.

Letters: C bytes, W words, G sequences of words (n-grams), D texts.

A word is a run of letters, digits and bytes of characters beyond ASCII; case of ASCII letters does not count, and each character of a script
without blanks between words (Chinese, Japanese, Korean: first byte 0xE3 or more) begins a new word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that it has an inverse modulo 2^64."""
INVERSE = np.uint64(pow(int(FACTOR), -1, 2**64))
LEAST_WITHOUT_BLANKS = 0xE3


@cache
def _word_bytes() -> np.ndarray:
    """(256,) bool: the bytes that words are made of."""
    return np.array([value >= 0x80 or chr(value).isalnum() for value in range(256)])


@cache
def _values() -> np.ndarray:
    """(256,) uint64: a random number for each byte, the same for both cases of a letter, 0 for what is in no word."""
    values = np.random.Generator(np.random.PCG64(0)).integers(1, 2**64, 256, dtype=np.uint64)
    for letter in range(ord("A"), ord("Z") + 1):
        values[letter] = values[letter + 32]
    return np.where(_word_bytes(), values, np.uint64(0))


_powers: dict[int, np.ndarray] = {}


def _powers_of(factor: np.uint64, number: int) -> np.ndarray:
    """(number,) uint64: factor^0, factor^1, ... modulo 2^64."""
    known = _powers.get(int(factor))
    if known is None or len(known) < number:
        size = max(number, 1 << 16)
        powers = np.full(size, factor, dtype=np.uint64)
        powers[0] = 1
        known = _powers[int(factor)] = np.multiply.accumulate(powers)
    return known[:number]


def mix(numbers: np.ndarray) -> np.ndarray:
    """uint64 numbers with all bits mixed into all others (the finalizer of SplitMix64, Steele et al. 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Words:
    """The words of several texts.

    Attributes:
        hashes: (W,) uint64.
        starts: (W,) int64, where each begins in the bytes of all texts.
        bounds: (D + 1,) int64: the words of text d are those from bounds[d] up to bounds[d + 1].
    """

    hashes: np.ndarray
    starts: np.ndarray
    bounds: np.ndarray


def words_of(texts: Sequence[bytes]) -> Words:
    """The words of UTF-8 texts."""
    # A blank after each text, so that no word goes across.
    content = np.frombuffer(b" ".join([*texts, b""]), dtype=np.uint8)
    inside = _word_bytes()[content]
    begins = inside.copy()
    begins[1:] &= ~inside[:-1] | (content[1:] >= LEAST_WITHOUT_BLANKS)
    starts = np.flatnonzero(begins)
    ends = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64)
    bounds = np.concatenate(([0], np.searchsorted(starts, ends))).astype(np.int64)
    if not len(starts):
        return Words(np.empty(0, dtype=np.uint64), starts, bounds)
    # sum of value * factor^place, divided by factor^(place of the word): the same for a word wherever it stands.
    sums = np.add.reduceat(_values()[content] * _powers_of(FACTOR, len(content)), starts)
    return Words(mix(sums * _powers_of(INVERSE, len(content))[starts]), starts, bounds)


def sequences_of(words: Words, length: int, *, short: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hashes of all sequences of `length` words that lie within one text.

    Args:
        words: of D texts.
        length: words of a sequence.
        short: whether a text with fewer words is one sequence of all of them; it has none otherwise.

    Returns:
        hashes: (G,) uint64, in the order of the texts.
        bounds: (D + 1,) int64: the sequences of text d are those from bounds[d] up to bounds[d + 1].
        first: (G,) int64: the number of the first word of each.
    """
    counts = np.diff(words.bounds)
    numbers = np.maximum(counts - length + 1, 0)
    if short:
        numbers = np.where((numbers == 0) & (counts > 0), 1, numbers)
    bounds = np.concatenate(([0], np.cumsum(numbers)))
    first = np.arange(bounds[-1]) - np.repeat(bounds[:-1] - words.bounds[:-1], numbers)
    last = np.repeat(words.bounds[1:], numbers)
    hashes = np.zeros(len(first), dtype=np.uint64)
    padded = np.concatenate((words.hashes, np.zeros(length, dtype=np.uint64)))
    for step in range(length):
        word = padded[first + step]
        # A sequence is cut off at the end of its text.
        hashes = hashes * FACTOR + (word if not short else np.where(first + step < last, word, np.uint64(0)))
    return mix(hashes), bounds, first

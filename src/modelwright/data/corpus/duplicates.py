"""Duplicates: documents that repeat an earlier one, exactly (by digest) or nearly (MinHash, Broder 1997, with locality-sensitive hashing).

Letters: D documents, P values of a signature, N bands, R values of a band.

Two sets with Jaccard similarity s agree in each of the P values of their signatures with probability s. The values are cut into N bands of R;
documents that agree in all values of some band, which happens with probability 1 - (1 - s^R)^N, are compared by their whole signatures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from modelwright.core.errors import import_extra
from modelwright.data.corpus.shingles import FACTOR, mix, sequences_of, words_of

VALUES = 128
"""P: the standard deviation of the estimated similarity is at most 0.5 / sqrt(P) = 0.044."""
SEED = 1
RECALL = 0.99
"""At least this share of the pairs that are just at the threshold is found."""
PAIRS_AT_ONCE = 1 << 15


def digest_of(content: bytes) -> tuple[int, int]:
    """128 bits that tell a text from all others, as two 64-bit numbers."""
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


@cache
def bands(threshold: float) -> tuple[int, int]:
    """(N, R): the longest bands, which make the fewest false candidates, that still find `RECALL` of the pairs at `threshold`."""
    for values in range(VALUES, 1, -1):
        number = VALUES // values
        if 1 - (1 - threshold**values) ** number >= RECALL:
            return number, values
    return VALUES, 1


def rensa() -> Any:
    """The library that computes signatures.

    Raises:
        InputError: it is not installed.
    """
    return import_extra("rensa", "rensa", "text")


def signatures_of(texts: Sequence[bytes], words: int) -> np.ndarray:
    """(D, P) uint32: the MinHash signatures of UTF-8 texts as sets of sequences of `words` words; a text without any word has zeros."""
    hashes, bounds, _ = sequences_of(words_of(texts), words, short=True)
    filled = np.flatnonzero(np.diff(bounds))
    signatures = np.zeros((len(texts), VALUES), dtype=np.uint32)
    if len(filled):
        rows = np.append(bounds[filled], bounds[-1]).astype(np.uint64)
        matrix = rensa().RMinHash.digest_matrix_from_flat_token_hashes(hashes, rows, VALUES, SEED)
        signatures[filled] = np.array(matrix.to_rows(), dtype=np.uint32)
    return signatures


def band_keys(signatures: np.ndarray, threshold: float) -> np.ndarray:
    """(N, D) uint64: a hash of each band of each signature."""
    number, length = bands(threshold)
    values = signatures[:, : number * length].reshape(-1, number, length).astype(np.uint64)
    keys = np.zeros(values.shape[:2], dtype=np.uint64)
    for place in range(length):
        keys = mix(keys * FACTOR + values[:, :, place] + np.uint64(1))
    return np.ascontiguousarray(keys.T)


def exact_leaders(digests: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """(D,) for each document the one of lowest `rank` (D,) that has the same `digests` (D, 2)."""
    order = np.lexsort((rank, digests[:, 1], digests[:, 0]))
    ordered = digests[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    leaders = np.empty(len(order), dtype=np.int64)
    leaders[order] = order[np.flatnonzero(first)][np.cumsum(first) - 1] if len(order) else order
    return leaders


def near_leaders(
    count: int,
    keys: Callable[[int], np.ndarray],
    signatures: Callable[[np.ndarray], np.ndarray],
    threshold: float,
    report: Callable[[int, int], None],
) -> np.ndarray:
    """(D,) for each document the earliest one of its cluster; in a cluster, similar documents are chained. One without words is like no other.

    Args:
        count: D.
        keys: gives the (D,) keys of a band; only one band is in memory at a time.
        signatures: gives the (n, P) signatures of some documents.
        threshold: least share of equal values in the signatures of similar documents.
        report: is told how many bands of how many are done.
    """
    parents = np.arange(count, dtype=np.int64)
    number = bands(threshold)[0]
    wordless = band_keys(np.zeros((1, VALUES), dtype=np.uint32), threshold)[0, 0]
    for band in range(number):
        for pairs in _candidates(keys(band), wordless, parents):
            similar = _similar(pairs, signatures, threshold)
            for earlier, later in pairs[similar].tolist():
                _join(parents, earlier, later)
        report(band + 1, number)
    return _roots(parents)


def _candidates(keys: np.ndarray, wordless: np.uint64, parents: np.ndarray) -> list[np.ndarray]:
    """Pairs (n, 2) of documents with equal keys, other than `wordless`, that are in no common cluster yet: each with the first of its group,
    and with the one before.
    """
    order = np.argsort(keys, kind="stable")
    order = order[keys[order] != wordless]
    ordered = keys[order]
    same = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
    if not len(same):
        return []
    first = np.ones(len(order), dtype=bool)
    first[same] = False
    leader = order[np.flatnonzero(first)[np.cumsum(first)[same] - 1]]
    pairs = np.concatenate([np.stack([leader, order[same]], axis=1), np.stack([order[same - 1], order[same]], axis=1)])
    roots = _roots(parents)
    pairs = np.unique(pairs[roots[pairs[:, 0]] != roots[pairs[:, 1]]], axis=0)
    return [pairs[start : start + PAIRS_AT_ONCE] for start in range(0, len(pairs), PAIRS_AT_ONCE)]


def _similar(pairs: np.ndarray, signatures: Callable[[np.ndarray], np.ndarray], threshold: float) -> np.ndarray:
    """(n,) bool: whether the signatures of a pair agree in the share `threshold` of their values."""
    rows, places = np.unique(pairs, return_inverse=True)
    found = signatures(rows)
    places = places.reshape(pairs.shape)
    return (found[places[:, 0]] == found[places[:, 1]]).mean(axis=1) >= threshold


def _join(parents: np.ndarray, one: int, other: int) -> None:
    """Put two documents into one cluster, whose root is its earliest document."""
    roots = []
    for document in (one, other):
        root = document
        while parents[root] != root:
            root = int(parents[root])
        while parents[document] != root:
            parents[document], document = root, int(parents[document])
        roots.append(root)
    parents[max(roots)] = min(roots)


def _roots(parents: np.ndarray) -> np.ndarray:
    """(D,) the root of each document's cluster."""
    roots = parents
    while not np.array_equal(above := roots[roots], roots):
        roots = above
    return roots

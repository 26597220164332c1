"""Leaks: sequences of words that stand in the training split and in another one.

Letters: G sequences of the other splits, U different ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.core.disk import written_aside
from modelwright.data.corpus.parts import load
from modelwright.data.corpus.shingles import sequences_of, words_of

MOST_SEQUENCES = 1 << 22
"""U at most; of more, those with the smallest hashes are taken for all."""
SAMPLES = 5
"""Samples of each split."""
HALF = 0.5
SEQUENCE = np.dtype([("hash", "<u8"), ("segment", "<i4"), ("start", "<i4")])
"""A sequence: its hash, the segment that it stands in, and the byte there at which it begins."""
BITS_PER_SEQUENCE = 16


def sequences(texts: Sequence[bytes], numbers: Sequence[int], words: int, most: int) -> np.ndarray:
    """(G,) all sequences of `words` words in texts that are the segments `numbers`, of those with a hash up to `most`."""
    found = words_of(texts)
    hashes, bounds, first = sequences_of(found, words, short=False)
    text = np.repeat(np.arange(len(texts)), np.diff(bounds))
    begins = np.cumsum([0, *(len(one) + 1 for one in texts)])
    rows = np.empty(len(hashes), dtype=SEQUENCE)
    rows["hash"], rows["segment"] = hashes, np.asarray(numbers)[text] if len(texts) else text
    rows["start"] = found.starts[first] - begins[text]
    return rows[rows["hash"] <= np.uint64(most)]


def write_index(folder: Path, texts: Iterable[tuple[list[int], list[bytes]]], size: int, words: int) -> None:
    """Write the index of the sequences that must not stand in the training split.

    Args:
        folder: to be made; what is there already is finished.
        texts: batches of segments' numbers and texts.
        size: bytes of all texts.
        words: words of a sequence.
    """
    if folder.exists():
        return
    # Text has a word in every 4 bytes at most, or nearly so.
    share = min(1.0, 4 * MOST_SEQUENCES / max(1, size))
    most = min(2**64 - 1, int(share * 2**64))
    found = [sequences(batch, numbers, words, most) for numbers, batch in texts]
    rows = np.concatenate(found) if found else np.empty(0, dtype=SEQUENCE)
    with written_aside(folder) as aside:
        aside.mkdir()
        np.save(aside / "sequences.npy", rows)
        np.save(aside / "hashes.npy", np.unique(rows["hash"]))
        np.save(aside / "most.npy", np.array([most], dtype=np.uint64))


@dataclass
class Index:
    """The hashes to look for, and a table that tells fast what is not among them."""

    hashes: np.ndarray
    table: np.ndarray
    shift: np.uint64
    most: int

    @classmethod
    def read(cls, folder: Path) -> Index:
        """The index that `write_index` wrote."""
        hashes = load(folder / "hashes.npy")
        bits = max(8, min(26, (BITS_PER_SEQUENCE * max(1, len(hashes))).bit_length()))
        shift = np.uint64(64 - bits)
        table = np.zeros(1 << bits, dtype=bool)
        # Hashes up to a limit below 2^64 only: their upper bits would fill but a part of the table.
        table[_places(hashes, shift)] = True
        return cls(hashes, table, shift, int(load(folder / "most.npy")[0]))

    def find(self, texts: Sequence[bytes], words: int) -> Iterator[tuple[int, int]]:
        """(text, number of the hash) of every sequence in `texts` that is looked for, once for each text."""
        if not len(self.hashes):
            return
        rows = sequences(texts, range(len(texts)), words, self.most)
        rows = rows[self.table[_places(rows["hash"], self.shift)]]
        places = np.minimum(np.searchsorted(self.hashes, rows["hash"]), len(self.hashes) - 1)
        hit = self.hashes[places] == rows["hash"]
        pairs = np.unique(np.stack([rows["segment"][hit].astype(np.int64), places[hit]], axis=1), axis=0)
        yield from map(tuple, pairs.tolist())


def _places(hashes: np.ndarray, shift: np.uint64) -> np.ndarray:
    return (hashes * np.uint64(0xD6E8FEB86659FD93)) >> shift


def summarize(folder: Path, splits: np.ndarray, names: Sequence[str], found: np.ndarray) -> dict[str, dict[str, int]]:
    """For each split but the training one: its sequences, those that stand in the training split too, and its documents that hold such.

    Args:
        folder: of the index.
        splits: (S,) of each segment.
        names: of the splits.
        found: (U,) bool: the hashes that were found in the training split.
    """
    rows = load(folder / "sequences.npy")
    hit = found[np.searchsorted(load(folder / "hashes.npy"), rows["hash"])] if len(rows) else np.zeros(0, dtype=bool)
    of_row = splits[rows["segment"]]
    told = {}
    for split in sorted(set(splits.tolist()) - {0}):
        here = of_row == split
        segments = np.flatnonzero(splits == split)
        totals = np.bincount(rows["segment"][here], minlength=len(splits))[segments]
        hits = np.bincount(rows["segment"][here & hit], minlength=len(splits))[segments]
        told[names[split]] = {
            "sequences": int(here.sum()),
            "found": int((here & hit).sum()),
            "texts": len(segments),
            "texts_touched": int((hits > 0).sum()),
            "texts_half": int(((hits >= HALF * totals) & (totals > 0)).sum()),
        }
    return told


def samples(folder: Path, splits: np.ndarray, hits: Iterable[tuple[int, int]], text_of: Any, origin_of: Any) -> list[dict[str, str]]:
    """A few of the leaks: where they stand in both splits, and how they begin.

    Args:
        folder: of the index.
        splits: (S,) of each segment.
        hits: (segment of the training split, number of the hash), in the order of the inputs.
        text_of: gives the text of a segment.
        origin_of: gives where a segment stands in the inputs.
    """
    rows, hashes = load(folder / "sequences.npy"), load(folder / "hashes.npy")
    order = np.argsort(rows["hash"], kind="stable")
    ordered = rows["hash"][order]
    shown: dict[int, list[dict[str, str]]] = {}
    seen: set[tuple[int, int]] = set()
    for segment, number in hits:
        row = rows[order[np.searchsorted(ordered, hashes[number])]]
        other = int(row["segment"])
        pair, split = (segment, other), int(splits[other])
        if pair in seen or len(shown.setdefault(split, [])) >= SAMPLES:
            continue
        seen.add(pair)
        begin = int(row["start"])
        excerpt = text_of(other)[begin : begin + 100].decode("utf-8", "ignore")
        shown[split].append({"training": origin_of(segment), "other": origin_of(other), "text": excerpt})
    return [sample for split in sorted(shown) for sample in shown[split]]

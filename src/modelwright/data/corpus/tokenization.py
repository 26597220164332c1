"""Tokenization: the text of a part's segments as tokens, and what of it stands in other splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from modelwright.core.disk import disk_errors, written_aside
from modelwright.data.corpus.leaks import Index
from modelwright.data.tokenizer import Tokenizer

BATCH_BYTES = 1 << 20
"""Text that is encoded at once: the library needs many bytes for each token until they are counted."""
MOST_TEXTS_AT_ONCE = 1024
SAMPLES_OF_A_PART = 20


@dataclass(frozen=True, slots=True)
class EncodeTask:
    """The segments of one part.

    Attributes:
        folder: to be made: `tokens.npy`, `counts.npy` by segment, `found.npy` (hashes also in another split), `hits.npy` (samples of these).
        part: the part's text.
        segments: those of this part.
        first: number of the first of them among all segments.
        tokenizer: path of the tokenizer.
        index: folder of the leak index.
        words: words of a sequence that must not leak.
        most: bytes that are encoded at once.
    """

    folder: Path
    part: Path
    segments: np.ndarray
    first: int
    tokenizer: Path
    index: Path
    words: int
    most: int = BATCH_BYTES


@lru_cache(maxsize=1)
def _tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.from_json(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _index(path: Path) -> Index:
    return Index.read(path)


def forget() -> None:
    """Forget the tokenizer and the index that were read last: others may come to lie at the same paths."""
    _tokenizer.cache_clear()
    _index.cache_clear()


def batches(part: Path, segments: np.ndarray, most: int = BATCH_BYTES) -> Iterator[tuple[list[int], list[bytes]]]:
    """Numbers and texts of the segments of a part, a batch at a time."""
    numbers: list[int] = []
    texts: list[bytes] = []
    size = 0
    with part.open("rb") as file:
        for number, (offset, length) in enumerate(zip(segments["offset"].tolist(), segments["length"].tolist(), strict=True)):
            file.seek(offset)
            numbers.append(number)
            texts.append(file.read(length))
            size += length
            if size >= most or len(texts) >= MOST_TEXTS_AT_ONCE:
                yield numbers, texts
                numbers, texts, size = [], [], 0
    if texts:
        yield numbers, texts


def by_part(homes: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(part, begin, end) of the segments of each part, given the parts `homes` (S,) of segments that are in the order of their parts."""
    present, first = np.unique(homes, return_index=True)
    yield from zip(present.tolist(), first.tolist(), [*first[1:].tolist(), len(homes)], strict=False)


def encode_part(task: EncodeTask, progress: Callable[[int], None]) -> None:
    """Encode the segments of a part; a folder that is there is finished already.

    Raises:
        InputError: the disk is full or not writable, or the tokenizer lacks a character.
    """
    if task.folder.exists():
        progress(int(task.segments["length"].sum()))
        return
    tokenizer, index = _tokenizer(task.tokenizer), _index(task.index)
    counts: list[int] = []
    hits: list[tuple[int, int]] = []
    found = np.zeros(len(index.hashes), dtype=bool)
    training = task.segments["split"] == 0
    with disk_errors(task.folder), written_aside(task.folder) as folder:
        folder.mkdir()
        with (folder / "tokens.bin").open("wb") as file:
            for numbers, texts in batches(task.part, task.segments, task.most):
                for tokens in tokenizer.encode_batch([text.decode() for text in texts]):
                    file.write(np.ascontiguousarray(tokens, dtype=tokenizer.dtype).data)
                    counts.append(len(tokens))
                kept = [number for number in numbers if training[number]]
                for text, number in index.find([texts[n - numbers[0]] for n in kept], task.words):
                    found[number] = True
                    if len(hits) < SAMPLES_OF_A_PART:
                        hits.append((task.first + kept[text], number))
                progress(sum(map(len, texts)))
        np.save(folder / "counts.npy", np.array(counts, dtype=np.int64))
        np.save(folder / "found.npy", np.flatnonzero(found))
        np.save(folder / "hits.npy", np.array(hits, dtype=np.int64).reshape(-1, 2))

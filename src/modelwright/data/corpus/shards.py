"""A shard: a file of tokens.

`<split>-00000.bin` holds little-endian uint16, or uint32 where the vocabulary is larger than 65,536. The stream of a split is
`<separator> document <separator> document ...`, cut into shards wherever one is full.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from modelwright.core.disk import disk_errors


def token_type(vocabulary: int) -> np.dtype:
    """The type of a shard's tokens."""
    return np.dtype("<u2" if vocabulary <= 1 << 16 else "<u4")


class ShardWriter:
    """Writes one split of a corpus, a document after the other.

    Args:
        folder: of the corpus; it must exist.
        split: `train`, `validation` or `test`.
        vocabulary: number of different tokens.
        separator: the token that every document begins with.
        shard_tokens: most tokens of a shard.
    """

    def __init__(self, folder: Path, split: str, vocabulary: int, separator: int, *, shard_tokens: int) -> None:
        assert shard_tokens > 0
        self._folder, self._split, self._limit = folder, split, shard_tokens
        self._type, self._vocabulary = token_type(vocabulary), vocabulary
        self._separator = np.array([separator], dtype=self._type)
        self._entry: dict[str, Any] = {"tokens": 0, "bytes": 0, "documents": 0, "shards": []}
        self._file: IO[bytes] | None = None
        self._filled, self._digest = 0, hashlib.blake2b(digest_size=16)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, tokens: np.ndarray, size: int) -> None:
        """Append a document: its (T,) tokens without separator, and the UTF-8 bytes of its text.

        Raises:
            InputError: the disk is full or not writable.
        """
        assert not len(tokens) or int(tokens.max()) < self._vocabulary
        with disk_errors(self._folder):
            if self._file is None or self._filled == self._limit:
                self._next()
            for part in (self._separator, tokens.astype(self._type, copy=False)):
                self._write(part)
        self._entry["documents"] += 1
        self._entry["bytes"] += size

    def extend(self, tokens: np.ndarray, size: int) -> None:
        """Go on with the document that was added last: more of its tokens, and the UTF-8 bytes of their text.

        Raises:
            InputError: the disk is full or not writable.
        """
        assert not len(tokens) or int(tokens.max()) < self._vocabulary
        with disk_errors(self._folder):
            self._write(tokens.astype(self._type, copy=False))
        self._entry["bytes"] += size

    def _write(self, tokens: np.ndarray) -> None:
        while len(tokens):
            if self._filled == self._limit:
                self._next()
            part = np.ascontiguousarray(tokens[: self._limit - self._filled])
            assert self._file is not None
            self._file.write(part.data)
            self._digest.update(part.data)
            self._filled += len(part)
            self._entry["tokens"] += len(part)
            tokens = tokens[len(part) :]

    def _next(self) -> None:
        """Finish the open shard and begin another."""
        self._finish()
        name = f"{self._split}-{len(self._entry['shards']):05d}.bin"
        self._file = (self._folder / name).open("wb", buffering=1 << 20)
        self._entry["shards"].append({"file": name, "tokens": 0, "digest": ""})

    def _finish(self) -> None:
        if self._file is None:
            return
        self._file.close()
        shard = self._entry["shards"][-1]
        shard.update(tokens=self._filled, digest=self._digest.hexdigest())
        self._filled, self._digest = 0, hashlib.blake2b(digest_size=16)

    def close(self) -> dict[str, Any]:
        """Finish the last shard; the split's entry in `corpus.json`: `tokens`, `bytes`, `documents` and `shards`.

        Raises:
            InputError: the disk is full or not writable.
        """
        with disk_errors(self._folder):
            self._finish()
        self._file = None
        return self._entry

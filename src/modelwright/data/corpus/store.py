"""A token store: the tokens of one split, read from disk where they are asked for.

Letters: B windows, T tokens of a window, L tokens of the whole split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.core.errors import InputError
from modelwright.data.corpus.shards import token_type


class TokenStore:
    """L tokens, in one or several arrays that follow each other.

    Args:
        shards: (L_i,) unsigned numbers, mapped from files or in memory.
        separator: the token that every document begins with.
        vocabulary: number of different tokens.
        size: UTF-8 bytes of the text, separators not counted.
        documents: number of documents.
        digests: of each shard's content; None: computed when asked for.
    """

    def __init__(
        self,
        shards: Sequence[np.ndarray],
        separator: int,
        vocabulary: int,
        *,
        size: int,
        documents: int,
        digests: Sequence[str] | None = None,
    ) -> None:
        self._shards = [shard for shard in shards if len(shard)]
        self._ends = np.cumsum([len(shard) for shard in self._shards], dtype=np.int64)
        self._digests = digests
        self.separator, self.vocabulary, self.bytes, self.documents = separator, vocabulary, size, documents

    @classmethod
    def open(cls, folder: Path, entry: Mapping[str, Any], vocabulary: int, separator: int) -> TokenStore:
        """Map the shards of one split.

        Args:
            folder: of the corpus.
            entry: the split's entry in `corpus.json`.
            vocabulary: number of different tokens.
            separator: the token that every document begins with.

        Raises:
            InputError: a shard is missing or not as long as it was.
        """
        if any(Path(shard["file"]).name != shard["file"] for shard in entry["shards"]):
            raise InputError("names a shard that lies elsewhere", where=folder, remedy="Prepare the corpus again")
        shards = [_map(folder / shard["file"], shard["tokens"], token_type(vocabulary)) for shard in entry["shards"]]
        if sum(len(shard) for shard in shards) != entry["tokens"]:
            raise InputError("the shards don't add up", where=folder, remedy="Prepare the corpus again")
        digests = [shard["digest"] for shard in entry["shards"]]
        return cls(shards, separator, vocabulary, size=entry["bytes"], documents=entry["documents"], digests=digests)

    @property
    def tokens(self) -> int:
        """L: tokens of all documents, with a separator for each."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @cached_property
    def digest(self) -> str:
        """A hexadecimal digest of all tokens."""
        parts = self._digests or [hashlib.blake2b(np.ascontiguousarray(shard).data, digest_size=16).hexdigest() for shard in self._shards]
        return hashlib.blake2b(" ".join(parts).encode(), digest_size=16).hexdigest()

    def windows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """(B, length) int64: the tokens that follow each of the places `starts` (B,), whatever shards they lie in.

        Raises:
            InputError: a number there is no token: the shard is damaged.
        """
        starts = np.asarray(starts, dtype=np.int64)
        assert not len(starts) or (starts.min() >= 0 and starts.max() + length <= self.tokens), "a window beyond the end"
        out = np.empty((len(starts), length), dtype=np.int64)
        first = np.searchsorted(self._ends, starts, side="right")
        last = np.searchsorted(self._ends, starts + (length - 1), side="right")
        for shard in np.unique(first[first == last]):
            rows = np.flatnonzero((first == shard) & (last == shard))
            views = np.lib.stride_tricks.sliding_window_view(self._shards[shard], length)
            out[rows] = views[starts[rows] - self._begin(shard)]
        across = np.flatnonzero(first != last)
        if len(across):
            places = starts[across, None] + np.arange(length)
            homes = np.searchsorted(self._ends, places, side="right")
            found = np.empty(places.shape, dtype=np.int64)
            for shard in np.unique(homes):
                here = homes == shard
                found[here] = self._shards[shard][places[here] - self._begin(shard)]
            out[across] = found
        if out.size and int(out.max()) >= self.vocabulary:
            raise InputError(
                f"a shard holds the token {int(out.max()):,} of {self.vocabulary:,}: it is damaged",
                remedy="Copy the corpus again, or prepare it again",
            )
        return out

    def _begin(self, shard: int) -> int:
        return int(self._ends[shard]) - len(self._shards[shard])

    def document_ids(self, windows: np.ndarray) -> np.ndarray:
        """(B, T) int64: of each token in `windows` (B, T) the number of its document, counted within its window; a separator begins one."""
        return np.cumsum(windows == self.separator, axis=1)


def _map(path: Path, tokens: int, dtype: np.dtype) -> np.ndarray:
    try:
        size = path.stat().st_size
        if size != tokens * dtype.itemsize:
            raise InputError(
                f"holds {size:,} bytes, not {tokens * dtype.itemsize:,}: the shard is damaged",
                where=path,
                remedy="Copy it again, or prepare the corpus again",
            )
        return np.memmap(path, dtype=dtype, mode="r") if size else np.empty(0, dtype=dtype)
    except OSError as error:
        raise InputError(f"the shard can't be read ({error.strerror})", where=path, remedy="Prepare the corpus again") from None

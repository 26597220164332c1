"""Encoding word by word: byte-level tokens never span the words that GPT-2's pattern cuts, so that each different word is encoded once."""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""What the library takes for white space."""
MOST_WORDS = 400_000
"""Words that are remembered; when there are more, all are forgotten, which bounds memory and costs little."""


class WordwiseCodec:
    """Encodes as a byte-level tokenizer of the library does, several times as fast.

    Args:
        backend: the tokenizer of the library.
        kind: of its model.
    """

    def __init__(self, backend: Any, kind: str) -> None:
        self._backend, self.kind = backend, kind
        self._known: dict[str, tuple[int, ...]] = {}

    def encode(self, text: str) -> np.ndarray:
        """(T,) int64; half of a surrogate pair becomes a question mark."""
        if text.isascii():
            words = pattern("A-Za-z", "0-9").findall(text)
        else:
            text = text.encode("utf-8", "replace").decode()
            letters, numbers, unassigned = character_classes()
            if unassigned[np.frombuffer(text.encode("utf-32-le"), dtype="<u4")].any():
                # A newer Unicode than this Python's may call it a letter.
                return np.array(self._backend.encode(text, add_special_tokens=False).ids, dtype=np.int64)
            words = pattern(letters, numbers).findall(text)
        try:
            tokens = list(map(self._known.__getitem__, words))
        except KeyError:
            self._learn(set(words))
            tokens = list(map(self._known.__getitem__, words))
        return np.fromiter(chain.from_iterable(tokens), dtype=np.int64)

    def _learn(self, words: set[str]) -> None:
        new = [word for word in words if word not in self._known]
        if len(self._known) + len(new) > MOST_WORDS:
            self._known.clear()
            new = list(words)
        encoded = self._backend.encode_batch_fast(new, add_special_tokens=False)
        self._known.update((word, tuple(one.ids)) for word, one in zip(new, encoded, strict=True))


def wordwise(description: dict[str, Any], backend: Any, kind: str) -> WordwiseCodec | None:
    """The codec of a tokenizer, if it cuts words as GPT-2 does and has a model of the type `kind`."""
    cut, model = description["pre_tokenizer"], description["model"]
    if model["type"].lower() != kind or description["normalizer"] is not None or model.get("dropout"):
        return None
    if not cut or (cut["type"], cut.get("add_prefix_space"), cut.get("use_regex", True)) != ("ByteLevel", False, True):
        return None
    plain = [token for token in description["added_tokens"] if not token["special"]]
    return None if plain else WordwiseCodec(backend, kind)


@lru_cache(maxsize=2)
def pattern(letters: str, numbers: str) -> re.Pattern[str]:
    """GPT-2's pattern of words, over ranges of letters and numbers."""
    return re.compile(
        f"'(?:[stmd]|re|ve|ll)| ?[{letters}]+| ?[{numbers}]+| ?[^{SPACE}{letters}{numbers}]+|[{SPACE}]+(?![^{SPACE}])|[{SPACE}]+"
    )


@lru_cache(maxsize=1)
def character_classes() -> tuple[str, str, np.ndarray]:
    """Ranges of all letters and of all numbers, and a table of the code points that this Python's Unicode doesn't know."""
    kinds = [unicodedata.category(chr(code)) for code in range(sys.maxunicode + 1)]
    ranges = []
    for kind in "LN":
        inside = np.array([one[0] == kind for one in kinds])
        edges = np.flatnonzero(np.diff(inside, prepend=False, append=False)).reshape(-1, 2)
        ranges.append("".join(f"{chr(first)}-{chr(end - 1)}" for first, end in edges.tolist()))
    return ranges[0], ranges[1], np.array([one == "Cn" for one in kinds])

"""Bytes as tokens: nothing to train, nothing unknown, V = 256 and the separator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from modelwright.data.tokenizer import Codec, Tokenizer, TokenizerConfig, byte_alphabet, finished, import_tokenizers, tokenizers


@tokenizers.register("bytes")
class BytesConfig(TokenizerConfig):
    """The UTF-8 bytes of a text; token 0 to 255 is the byte."""

    name: Literal["bytes"] = "bytes"

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """The one tokenizer of this kind; `texts` are not looked at."""
        library = import_tokenizers()
        backend = library.Tokenizer(library.models.BPE(vocab={c: value for value, c in enumerate(byte_alphabet())}, merges=[]))
        backend.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.decoder = library.decoders.ByteLevel()
        return finished(backend)

    @classmethod
    def codec(cls, description: dict[str, Any], backend: Any) -> Codec | None:
        """Bytes as they lie in memory."""
        model = description["model"]
        if model["type"] != "BPE" or model["merges"] or len(model["vocab"]) != 256 or description["normalizer"] is not None:
            return None
        plain = [token for token in description["added_tokens"] if not token["special"]]
        return None if plain or list(model["vocab"].items()) != [(c, n) for n, c in enumerate(byte_alphabet())] else ByteCodec()


class ByteCodec:
    """Encodes to bytes."""

    kind = "bytes"

    def encode(self, text: str) -> np.ndarray:
        """(T,) uint8; half a surrogate pair becomes a question mark."""
        return np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8)

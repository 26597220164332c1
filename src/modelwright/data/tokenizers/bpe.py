"""Byte-pair encoding of bytes: the most frequent pair becomes a token, again and again; nothing is unknown (GPT-2, section 2.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from modelwright.data.tokenizer import Codec, Tokenizer, TokenizerConfig, byte_alphabet, finished, import_tokenizers, tokenizers
from modelwright.data.wordwise import wordwise


@tokenizers.register("bpe")
class BpeConfig(TokenizerConfig):
    """Byte-level BPE, cut at words as GPT-2 does; gives every text back unchanged."""

    name: Literal["bpe"] = "bpe"
    vocabulary_size: int = Field(default=8192, ge=257)
    """Tokens with the separator; fewer if the texts don't hold as many pairs."""
    minimum_count: int = Field(default=2, ge=1)
    """Fewest occurrences of a pair that becomes a token."""

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Learn the pairs; ties go by token number, so that the order of the texts doesn't matter."""
        library = import_tokenizers()
        backend = library.Tokenizer(library.models.BPE())
        backend.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=self.vocabulary_size - 1,
            min_frequency=self.minimum_count,
            initial_alphabet=byte_alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator((text.encode("utf-8", "replace").decode() for text in texts), trainer)
        return finished(backend)

    @classmethod
    def codec(cls, description: dict[str, Any], backend: Any) -> Codec | None:
        """Word by word."""
        return wordwise(description, backend, "bpe")

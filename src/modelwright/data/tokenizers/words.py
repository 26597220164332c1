"""Words as tokens: what stands between white space, with every line break a token of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import repeat
from typing import Any, Literal

import numpy as np
from pydantic import Field

from modelwright.core.errors import InputError
from modelwright.data.tokenizer import SEPARATOR, Codec, Tokenizer, TokenizerConfig, finished, import_tokenizers, is_cut, tokenizers

UNKNOWN = "<unk>"
LINE_BREAK = "\n"
# What Python's str.split() takes for white space, as the library's \s leaves out some of it.
WORD_OR_LINE_BREAK = r"\n|[^\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"


@tokenizers.register("words")
class WordsConfig(TokenizerConfig):
    """Words by frequency, then by spelling; all others are `<unk>`, so that perplexities compare only at the same vocabulary."""

    name: Literal["words"] = "words"
    vocabulary_size: int | None = Field(default=None, ge=3)
    """Most tokens, without the separator; None: as many as there are words."""
    minimum_count: int = Field(default=1, ge=1)
    """Fewest occurrences of a word that becomes a token."""

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Count the words.

        Raises:
            InputError: the texts hold no words.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text.split())
        if not counts:
            raise InputError("the texts are empty", expected="at least one word to make a tokenizer of")
        counts.pop(UNKNOWN, None)
        counts.pop(SEPARATOR, None)
        ranked = sorted((-count, word) for word, count in counts.items() if count >= self.minimum_count)
        words = [word for _, word in ranked][: None if self.vocabulary_size is None else self.vocabulary_size - 2]
        library = import_tokenizers()
        vocabulary = {word: number for number, word in enumerate([UNKNOWN, LINE_BREAK, *words])}
        backend = library.Tokenizer(library.models.WordLevel(vocabulary, unk_token=UNKNOWN))
        backend.pre_tokenizer = library.pre_tokenizers.Split(library.Regex(WORD_OR_LINE_BREAK), "removed", invert=True)
        return finished(backend)

    @classmethod
    def codec(cls, description: dict[str, Any], backend: Any) -> Codec | None:
        """Python's own splitting and a dictionary."""
        if not is_cut(description, WORD_OR_LINE_BREAK, invert=True):
            return None
        model = description["model"]
        return WordCodec(model["vocab"], model["vocab"][model["unk_token"]])


class WordCodec:
    """Encodes words by a dictionary.

    Args:
        vocabulary: token of each word and of the line break.
        unknown: token of all other words.
    """

    kind = "words"

    def __init__(self, vocabulary: dict[str, int], unknown: int) -> None:
        self._vocabulary, self._unknown = vocabulary, unknown

    def encode(self, text: str) -> np.ndarray:
        """(T,) int64, a token a word and a line break."""
        tokens: list[int] = []
        line_break = self._vocabulary.get(LINE_BREAK, self._unknown)
        for line in text.split(LINE_BREAK):
            tokens.extend(map(self._vocabulary.get, line.split(), repeat(self._unknown)))
            tokens.append(line_break)
        return np.array(tokens[:-1], dtype=np.int64)

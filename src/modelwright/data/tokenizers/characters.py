"""Characters as tokens: those of the training text, in the order of their code points."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import numpy as np

from modelwright.core.errors import InputError
from modelwright.data.tokenizer import Codec, Tokenizer, TokenizerConfig, finished, import_tokenizers, is_cut, tokenizers

ANY = r"[\s\S]"
UNKNOWN = "<unk>"


@tokenizers.register("characters")
class CharactersConfig(TokenizerConfig):
    """Every character of the texts is a token; another one is an error, unless `unknown` gives those a token."""

    name: Literal["characters"] = "characters"
    closed: ClassVar[bool] = True
    unknown: bool = False
    """Whether there is a token for characters that are in none of the texts; bits per byte can't be told then."""

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Collect the characters.

        Raises:
            InputError: the texts are empty.
        """
        seen: set[str] = set()
        for text in texts:
            seen.update(text)
        characters = sorted(character for character in seen if not "\ud800" <= character <= "\udfff")
        if not characters:
            raise InputError("the texts are empty", expected="at least one character to make a tokenizer of")
        library = import_tokenizers()
        vocabulary = {character: number for number, character in enumerate([*characters, *([UNKNOWN] if self.unknown else [])])}
        backend = library.Tokenizer(library.models.WordLevel(vocabulary, unk_token=UNKNOWN))
        backend.pre_tokenizer = library.pre_tokenizers.Split(library.Regex(ANY), "isolated")
        backend.decoder = library.decoders.Fuse()
        return finished(backend)

    @classmethod
    def codec(cls, description: dict[str, Any], backend: Any) -> Codec | None:
        """A table from code points to tokens."""
        if not is_cut(description, ANY, behavior="Isolated"):
            return None
        model = description["model"]
        return CharacterCodec(model["vocab"], model["vocab"].get(model["unk_token"], -1))


class CharacterCodec:
    """Encodes characters by a table.

    Args:
        vocabulary: token of each character.
        unknown: token of all other characters, -1 for an error.
    """

    kind = "characters"

    def __init__(self, vocabulary: dict[str, int], unknown: int) -> None:
        single = {ord(character): number for character, number in vocabulary.items() if len(character) == 1}
        self._table = np.full(max(single) + 2, unknown, dtype=np.int64)
        self._table[list(single)] = list(single.values())

    def encode(self, text: str) -> np.ndarray:
        """(T,) int64, a token a character.

        Raises:
            InputError: names the character that has no token.
        """
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        tokens = self._table[np.minimum(codes, len(self._table) - 1)]
        if len(tokens) and tokens.min() < 0:
            place = int(np.argmin(tokens))
            raise InputError(
                f"the character {text[place]!r} has no token",
                expected="the characters of the text that the tokenizer was made for",
                remedy="Remove it, or train with the tokenizer bytes or bpe, which know every character",
            )
        return tokens

"""The corpus configuration: everything that decides what a preparation makes of its inputs."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from modelwright.core.config import Config
from modelwright.core.errors import InputError
from modelwright.core.registry import component
from modelwright.data.config import check_shares
from modelwright.data.tokenizer import tokenizers

BLANK_LINE = "blank-line"


class CorpusConfig(Config):
    """How text becomes a corpus; nothing must be given."""

    tokenizer: component(tokenizers) | None = None  # type: ignore[valid-type]
    """The kind of tokenizer; None: characters for less than 5 MB of text with at most 256 different ones, bpe otherwise."""
    tokenizer_sample: int = Field(default=200_000_000, ge=1)
    """Bytes of the training split that the tokenizer is trained on, drawn evenly from all of it."""
    text_column: str = "text"
    """The column of JSON lines and Parquet files that holds the text."""
    document_separator: str | None = None
    """What stands between the documents of a plain text file: `blank-line`, or a text such as `<|endoftext|>`; None: a file is a document."""
    encoding: str | None = None
    """Encoding of text files; None: UTF-8, or UTF-16 if a file begins with its mark."""
    encoding_errors: Literal["replace", "set_aside"] = "replace"
    """What happens to a document with broken text: the broken places become the replacement character, or the document is set aside."""
    normalization: Literal["none", "nfc", "nfkc"] = "nfc"
    """Unicode normalization; all but `none` also make every line end a line feed and remove control characters."""
    filters: Literal["none", "default", "gopher"] = "default"
    """Quality filters: `default` takes away what is no text at all, `gopher` are the rules for prose of Rae et al. 2021, table A1."""
    minimum_characters: int = Field(default=1, ge=0)
    """Shorter documents are dropped."""
    maximum_characters: int | None = Field(default=None, ge=1)
    """Longer documents are dropped."""
    exact_duplicates: bool = True
    """Whether documents that repeat an earlier one exactly are dropped."""
    near_duplicates: float = Field(default=0.8, ge=0, le=1)
    """Documents whose sets of word sequences have this Jaccard similarity with an earlier one's are dropped; 0: none are."""
    near_words: int = Field(default=5, ge=1, le=64)
    """Words of the sequences by which documents are compared."""
    given_splits: bool = True
    """Whether files named train, valid, test and the like are these splits."""
    validation: float = Field(default=0.05, ge=0, lt=1)
    """Share of the text that becomes the validation split, if none is given."""
    test: float = Field(default=0.05, ge=0, lt=1)
    """Share of the text that becomes the test split, if none is given."""
    largest_split: int = Field(default=10_000_000, ge=1)
    """Most bytes of a validation or test split that is drawn."""
    leak_words: int = Field(default=13, ge=2, le=64)
    """Words of the sequences that must not stand in the training split and in another one; they are counted, not removed."""
    shard_tokens: int = Field(default=64 * 2**20, ge=1)
    """Tokens of a shard."""
    part_bytes: int = Field(default=16 * 2**20, ge=1)
    """Bytes that one process works on at a time."""
    piece_bytes: int = Field(default=2 * 2**20, ge=16)
    """A longer document is worked on in pieces of this size, cut at line ends; it is compared with others only as a whole and exactly."""
    seed: int = 0
    """Decides which documents go into which split."""

    @field_validator("document_separator")
    @classmethod
    def _is_not_empty(cls, separator: str | None) -> str | None:
        """A line feed or tab that was typed as an escape becomes one; `newpage` after a backslash stays."""
        if separator == "":
            raise InputError("an empty text can't separate documents", expected=f"{BLANK_LINE}, or a text such as <|endoftext|>")
        return separator and re.sub(r"\\[nt](?![a-z])", lambda found: {"n": "\n", "t": "\t"}[found[0][1]], separator)

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str | None) -> str | None:
        import codecs

        try:
            return encoding and codecs.lookup(encoding).name
        except LookupError:
            raise InputError(f"unknown encoding {encoding!r}", expected="one like utf-8, latin-1 or cp1252") from None

    @model_validator(mode="after")
    def _leave_something_to_train(self) -> Self:
        check_shares(self.validation, self.test)
        return self

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return self.model_dump(mode="json")

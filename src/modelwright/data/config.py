"""The data configuration: where the data lies and how it is to be read."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from modelwright.core.config import Config
from modelwright.core.errors import InputError
from modelwright.core.registry import component
from modelwright.core.schema import FeatureType
from modelwright.data.tokenizer import tokenizers

MISSING_VALUES = ("", "?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None")


def check_shares(validation: float, test: float) -> None:
    """See that the shares of the splits that are made leave something to train on.

    Raises:
        InputError: they don't.
    """
    if validation + test >= 1:
        raise InputError(
            f"validation {validation:g} and test {test:g} leave nothing to train on", expected="shares that together stay below 1"
        )


class DataConfig(Config):
    """Everything about the data of a run; only `path` must be given, the rest is inferred."""

    path: str
    """A file, a folder, or the name of a set that an installed library carries."""
    source: str | None = None
    """Name of the source that reads `path`; None: the one that recognizes it."""
    target: str | None = None
    """The column to be predicted; None: one called target, label, class or the like, otherwise the last one."""
    types: dict[str, FeatureType] = Field(default={})
    """Types of columns that are not to be inferred, by column name."""
    ignore: tuple[str, ...] = ()
    """Columns that are left out."""
    header: bool | None = None
    """Whether the first row of a table holds the column names; None: inferred."""
    delimiter: str | None = None
    """What separates the fields of a table, for example `;` or `tab`; a blank stands for any white space; None: inferred."""
    encoding: str | None = None
    """Text encoding of a table; None: UTF-8, or UTF-16 if the file begins with its mark."""
    missing_values: tuple[str, ...] = MISSING_VALUES
    """Cells of a table that stand for a missing value."""
    image_size: tuple[int, int] | None = None
    """Height and width in pixels that image files are resized to; None: their most common size."""
    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share of the examples (of the training split, where the others are given) that becomes the validation split if none is given."""
    test: float = Field(default=0.1, ge=0, lt=1)
    """Share of the examples that becomes the test split if none is given."""
    context: int = Field(default=256, ge=1)
    """Text: tokens of a window, which is the most that the model reads at once while it learns."""
    packing: Literal["continuous", "separate"] = "continuous"
    """Text: whether a window that spans several documents is read as one, or attention stays within each."""
    tokenizer: component(tokenizers) | None = None  # type: ignore[valid-type]
    """Text that isn't prepared yet: how it becomes tokens; None: characters for a small text of few different ones, otherwise bpe."""
    drop_duplicates: bool | None = None
    """Whether repeated examples leave the training split; None: yes, unless the columns of a table are so coarse that repeats are chance."""

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str | None) -> str | None:
        if delimiter is None:
            return None
        if delimiter.lower() in ("tab", "\\t"):
            return "\t"
        if len(delimiter) != 1 or delimiter in '"\r\n\0':
            raise InputError(f"{delimiter!r} can't separate fields", expected="one character, like ; or |, or the word tab")
        return delimiter

    @model_validator(mode="after")
    def _leave_something_to_train(self) -> Self:
        check_shares(self.validation, self.test)
        return self

"""The schema: what an example is. Inferred from the data, shown, overridable; fitted on the training split only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from modelwright.core.config import Config

FeatureType = Literal["image", "number", "category", "text"]


class Feature(Config):
    """One named part of an example, with what was fitted to it on the training split.

    A category is encoded as its index in `values` plus one; 0 stands for missing and never-seen values. A number is encoded as
    `(x - mean) / scale`; a missing one as its mean (0 after encoding), with a flag if `has_missing`. An image is `(x/255 - mean) / scale`
    per channel. A text is a row of token numbers, as its tokenizer gives them.
    """

    name: str
    type: FeatureType
    shape: tuple[int, ...] = ()
    """Image: (channels, height, width). Text: (context,), the most tokens that are read at once. Otherwise empty: one value."""
    values: tuple[str, ...] = ()
    """Category: the vocabulary, in the order of the class indices."""
    mean: tuple[float, ...] = ()
    """Number: one value. Image: one a channel, of pixels in 0..1."""
    scale: tuple[float, ...] = ()
    """Standard deviation, like `mean`; never 0."""
    edges: tuple[float, ...] = ()
    """Number: increasing quantiles of the standardized training values, for piecewise-linear encoding."""
    has_missing: bool = False
    """Whether the training split has missing values here."""
    vocabulary: int = 0
    """Text: number of different tokens."""
    tokenizer: str = ""
    """Text that goes in: its tokenizer, as the text of a `tokenizer.json`."""


class Schema(Config):
    """What goes in and what is asked for.

    `kind` says what the inputs are as a whole: one `image`, one `text`, or the columns of a `table`. A target that is a text is the next token
    at every position of the input.
    """

    inputs: tuple[Feature, ...]
    target: Feature

    @property
    def kind(self) -> str:
        """The raw input that a stem must read: `image`, `text` or `table`."""
        first = self.inputs[0].type
        return first if first in ("image", "text") else "table"

    @property
    def image(self) -> Feature:
        """The image input.

        Raises:
            LookupError: the inputs are a table.
        """
        if self.kind != "image":
            raise LookupError(f"the input is no image but {self.kind}")
        return self.inputs[0]

    @property
    def text(self) -> Feature:
        """The text input.

        Raises:
            LookupError: the input is something else.
        """
        if self.kind != "text":
            raise LookupError(f"the input is no text but {self.kind}")
        return self.inputs[0]

    @property
    def causal(self) -> bool:
        """Whether an output is asked for at every position, from what stands up to it: the next token of a text."""
        return self.target.type == "text"

    @property
    def numbers(self) -> tuple[Feature, ...]:
        """The number columns, in the order of the encoded tensor `numbers`."""
        return tuple(feature for feature in self.inputs if feature.type == "number")

    @property
    def categories(self) -> tuple[Feature, ...]:
        """The category columns, in the order of the encoded tensor `categories`."""
        return tuple(feature for feature in self.inputs if feature.type == "category")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the target's classes; empty when the target is a number."""
        return self.target.values

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """(role, name, description) of every feature, for printing."""
        for role, features in (("input", self.inputs), ("target", (self.target,))):
            for feature in features:
                yield role, feature.name, describe(feature)


def describe(feature: Feature) -> str:
    """A feature in a few words: `image 1x28x28`, `category of 14 values`, `number`."""
    if feature.type == "image":
        return f"image {'x'.join(map(str, feature.shape))}"
    if feature.type == "text":
        return f"text, {feature.shape[0]:,} of {feature.vocabulary:,} tokens at once"
    if feature.type == "category":
        return "binary" if len(feature.values) == 2 else f"category of {len(feature.values)} values"
    return "number" + (", some missing" if feature.has_missing else "")

"""Data known by its shape only: enough to plan a training, with nothing to read.

Letters: B batch, C channels, H height, W width, T tokens.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from modelwright.core.batch import Batch
from modelwright.core.errors import InputError, unknown_name
from modelwright.core.schema import Feature, Schema
from modelwright.core.units import MULTIPLES

PREFIX = "shape:"
_KINDS: dict[str, dict[str, int]] = {
    "text": {"vocabulary": 50_304, "examples": 1_000_000},
    "image": {"channels": 3, "height": 224, "width": 224, "classes": 1_000, "examples": 1_000_000},
    "table": {"numbers": 10, "categories": 0, "values": 10, "classes": 2, "examples": 100_000},
}
"""What may be said of each kind of data, and what holds where it is not."""


class Shape(NamedTuple):
    """What a plan needs to know of data.

    Attributes:
        schema: of the examples.
        examples: of the training split.
    """

    schema: Schema
    examples: int


def parse_shape(text: str, context: int) -> Shape:
    """Read `shape:KIND,key=number,...`; what is left out is usual. A table with `classes=0` has a number as its target.

    Args:
        text: the kinds are `text`, `image` and `table`.
        context: tokens of a text's window.

    Raises:
        InputError: an unknown kind or key, or no whole number.
    """
    kind, *pairs = [part.strip() for part in text.removeprefix(PREFIX).split(",")]
    if kind not in _KINDS:
        raise unknown_name("kind of data", kind, _KINDS, where=text)
    numbers = dict(_KINDS[kind])
    for pair in pairs:
        key, _, value = (word.strip() for word in pair.partition("="))
        if key not in numbers:
            raise unknown_name(f"number of a {kind}", key, numbers, where=text)
        numbers[key] = _whole(value, text)
        least = 0 if key in ("numbers", "categories", "classes") else 1
        if numbers[key] < least or (key == "classes" and numbers[key] == (1 if kind == "table" else min(numbers[key], 1))):
            raise InputError(
                f"{key}={numbers[key]}", where=text, expected="at least 2 classes" if key == "classes" else f"at least {least}"
            )
    if kind == "text":
        tokens = Feature(name="text", type="text", shape=(context,), vocabulary=numbers["vocabulary"])
        return Shape(Schema(inputs=(tokens,), target=tokens.replace(name="next token")), numbers["examples"])
    classes = numbers["classes"]
    target = (
        Feature(name="target", type="category", values=tuple(map(str, range(classes))))
        if classes
        else Feature(name="target", type="number", mean=(0.0,), scale=(1.0,))
    )
    if kind == "image":
        channels = numbers["channels"]
        size = (channels, numbers["height"], numbers["width"])
        image = Feature(name="image", type="image", shape=size, mean=(0.5,) * channels, scale=(0.25,) * channels)
        return Shape(Schema(inputs=(image,), target=target), numbers["examples"])
    values = tuple(map(str, range(numbers["values"])))
    edges = tuple(float(edge) for edge in range(-8, 9))
    columns = [
        Feature(name=f"number {place}", type="number", mean=(0.0,), scale=(1.0,), edges=edges) for place in range(numbers["numbers"])
    ]
    columns += [Feature(name=f"category {place}", type="category", values=values) for place in range(numbers["categories"])]
    if not columns:
        raise InputError("a table without columns", where=text, expected="numbers or categories above 0")
    return Shape(Schema(inputs=tuple(columns), target=target), numbers["examples"])


def _whole(value: str, where: str) -> int:
    multiple = MULTIPLES.get(value[-1:], math.nan) if value[-1:].isalpha() else 1
    try:
        number = float(value[:-1] if value[-1:].isalpha() else value) * multiple
    except ValueError:
        number = math.nan
    if not 0 <= number < 1e15 or number != int(number):
        raise InputError(f"can't read {value!r}", where=where, expected="a whole number, like 1000 or 10k")
    return int(number)


def made_up_batch(schema: Schema, size: int, *, documents: bool = False, dtype: torch.dtype = torch.float32) -> Batch:
    """A batch of noise that looks like data of that schema: (B, C, H, W), (B, T) or columns; under fake tensors without values.

    Args:
        schema: of the data.
        size: B.
        documents: whether a text says which document each token is of.
        dtype: of numbers.
    """
    target: Tensor
    if schema.kind == "text":
        shape = (size, schema.text.shape[0])
        inputs = {"tokens": torch.randint(schema.text.vocabulary, shape)}
        if documents:
            inputs["documents"] = torch.zeros(shape, dtype=torch.int64)
    elif schema.kind == "image":
        inputs = {"image": torch.randn((size, *schema.image.shape), dtype=dtype)}
    else:
        inputs = {
            "numbers": torch.randn((size, len(schema.numbers)), dtype=dtype),
            "missing": torch.zeros((size, len(schema.numbers)), dtype=dtype),
            "categories": torch.zeros((size, len(schema.categories)), dtype=torch.int64),
        }
    if schema.causal:
        target = torch.randint(schema.target.vocabulary, (size, schema.target.shape[0]))
    else:
        target = torch.randint(len(schema.classes), (size,)) if schema.classes else torch.randn(size, dtype=dtype)
    return Batch(inputs, target)

"""Conversion of raw columns to their types: numbers as float64 with NaN, categories as str with None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from modelwright.core.schema import FeatureType
from modelwright.data.examples import Examples, number_text
from modelwright.data.numbers import to_numbers


@dataclass(frozen=True, slots=True)
class Faults:
    """Where the values of a number column could not be taken: (N,) masks, by column; only columns that have some.

    Attributes:
        unreadable: the value is no number.
        infinite: the number is infinite.
    """

    unreadable: dict[str, np.ndarray]
    infinite: dict[str, np.ndarray]


def convert(examples: Examples, types: Mapping[str, FeatureType]) -> tuple[Examples, Faults]:
    """The examples with only the columns of `types`, each of its type; what is no finite number becomes missing."""
    columns: dict[str, np.ndarray] = {}
    faults = Faults({}, {})
    for name, kind in types.items():
        raw = examples.columns[name]
        if kind == "image":
            columns[name] = raw
        elif kind == "category":
            columns[name] = to_texts(raw)
        else:
            numbers, unreadable = to_numbers(raw)
            infinite = np.isinf(numbers)
            if unreadable.any():
                faults.unreadable[name] = unreadable
            if infinite.any():
                faults.infinite[name] = infinite
                numbers = np.where(infinite, np.nan, numbers)
            columns[name] = numbers
    return examples.replace(columns=columns), faults


def to_texts(column: np.ndarray) -> np.ndarray:
    """A column as the names of categories: objects, str or None."""
    if column.dtype == object:
        return column
    values, inverse = np.unique(column, return_inverse=True)
    names = np.array([number_text(value) if np.isfinite(value) else None for value in values.tolist()], dtype=object)
    return names[inverse]


def is_missing(column: np.ndarray) -> np.ndarray:
    """(N,) True where a converted column has no value."""
    if column.dtype == object:
        return np.array([value is None for value in column.tolist()], dtype=bool)
    return np.isnan(column)

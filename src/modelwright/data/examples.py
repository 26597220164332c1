"""Examples: raw columns of equal length, with each example's origin and, where the source gives it, its split.

Letters: N examples, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from modelwright.core.schema import FeatureType

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Reject:
    """An example or a file that was set aside: where it stood, and why."""

    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class Origins:
    """Where each of N examples came from, kept as two numbers an example and put into words only when asked.

    Attributes:
        places: (name, unit) of each place; with an empty unit the place is the example itself, as an image file is.
        place: (N,) int32 index into `places`.
        position: (N,) int64 line, row or image number in the place, from 1.
    """

    places: tuple[tuple[str, str], ...]
    place: np.ndarray
    position: np.ndarray

    @classmethod
    def within(cls, name: str, unit: str, positions: np.ndarray | Sequence[int]) -> Origins:
        """Origins that all lie in one place, as the lines of a file do."""
        position = np.asarray(positions, dtype=np.int64)
        return cls(((name, unit),), np.zeros(len(position), dtype=np.int32), position)

    @classmethod
    def files(cls, names: Sequence[str]) -> Origins:
        """Origins of examples that are a file each."""
        return cls(tuple((name, "") for name in names), np.arange(len(names), dtype=np.int32), np.ones(len(names), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, index: int | np.integer) -> str:
        name, unit = self.places[self.place[index]]
        return f"{name} {unit} {self.position[index]}" if unit else name

    def take(self, index: np.ndarray) -> Origins:
        """Those at `index`, positions or a mask."""
        return Origins(self.places, self.place[index], self.position[index])

    @classmethod
    def concat(cls, parts: Sequence[Origins]) -> Origins:
        """All of several, one after the other."""
        starts = np.cumsum([0, *(len(part.places) for part in parts)])
        return cls(
            tuple(place for part in parts for place in part.places),
            np.concatenate([part.place + np.int32(start) for part, start in zip(parts, starts, strict=False)]),
            np.concatenate([part.position for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Examples:
    """What a source read.

    Attributes:
        columns: by name, all of length N: images as uint8 (N, C, H, W) under the name `image`; a table's columns as float64 with NaN where
            a value is missing, or as objects: str, and None where it is missing.
        origins: where each example came from.
        split: (N,) the name of each example's split, if the source gives splits.
        target: the column that the source takes for the target, if it has one in mind.
        types: types that the source knows for sure.
        rejects: what could not be read.
        notes: what the user should know about how it was read.
    """

    columns: dict[str, np.ndarray]
    origins: Origins
    split: np.ndarray | None = None
    target: str | None = None
    types: dict[str, FeatureType] = field(default_factory=dict)
    rejects: tuple[Reject, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert all(len(column) == len(self.origins) for column in self.columns.values()), "columns of uneven length"
        assert self.split is None or len(self.split) == len(self.origins)

    def __len__(self) -> int:
        return len(self.origins)

    def take(self, index: np.ndarray) -> Examples:
        """The examples at `index`, positions or a mask; rejects and notes stay."""
        index = np.flatnonzero(index) if index.dtype == bool else index
        return replace(
            self,
            columns={name: column.take(index, axis=0) for name, column in self.columns.items()},
            origins=self.origins.take(index),
            split=None if self.split is None else self.split[index],
        )

    def replace(self, **changes: Any) -> Examples:
        """A copy with some attributes changed."""
        return replace(self, **changes)

    @classmethod
    def concat(cls, parts: Sequence[Examples]) -> Examples:
        """All examples of several, one after the other; a column that one of them lacks is missing there.

        A split is given for all if any part gives one; the others' examples then belong to `train`.
        """
        if len(parts) == 1:
            return parts[0]
        names = list(dict.fromkeys(name for part in parts for name in part.columns))
        columns = {name: np.concatenate(list(_aligned([part.columns.get(name) for part in parts], parts))) for name in names}
        splits = None
        if any(part.split is not None for part in parts):
            splits = np.concatenate([np.full(len(part), "train", "<U10") if part.split is None else part.split for part in parts])
        return cls(
            columns,
            Origins.concat([part.origins for part in parts]),
            splits,
            next((part.target for part in parts if part.target), None),
            {name: kind for part in parts for name, kind in part.types.items()},
            tuple(reject for part in parts for reject in part.rejects),
            tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        )


def _aligned(columns: Sequence[np.ndarray | None], parts: Sequence[Examples]) -> Iterable[np.ndarray]:
    """The columns of one name, made of one type: objects as soon as one of them holds objects."""
    objects = any(column is None or column.dtype == object for column in columns)
    for column, part in zip(columns, parts, strict=True):
        if column is None:
            yield np.full(len(part), None, dtype=object)
        elif objects and column.dtype != object and column.ndim == 1:
            texts = np.array([None if np.isnan(value) else number_text(value) for value in column], dtype=object)
            yield texts
        else:
            yield column


def number_text(value: float) -> str:
    """A number as a category is called: 3 for 3.0, otherwise the shortest text that gives it back."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))

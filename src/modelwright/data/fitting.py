"""Fitting: vocabularies, means, scales and quantiles of the training split, and of nothing else.

Letters: N examples, C channels, H height, W width.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from modelwright.core.errors import InputError
from modelwright.core.schema import Feature, Schema
from modelwright.data.conversion import is_missing
from modelwright.data.examples import Examples
from modelwright.data.inference import Typing

MANY_VALUES = 100
"""A category with more distinct values than this keeps those seen often enough to learn from."""
MIN_COUNT = 5
MAX_EDGES = 128
CHUNK = 1 << 18
"""Pixels summed at a time: few enough that float32 sums of squares stay exact to seven digits."""


def fit(train: Examples, typing: Typing) -> tuple[Schema, list[str]]:
    """The schema fitted on the training examples, and notes on what was cut.

    Raises:
        InputError: the target has one value only, or no input is left.
    """
    notes: list[str] = []
    inputs = []
    for name, kind in typing.inputs.items():
        column = train.columns[name]
        if kind == "image":
            inputs.append(fit_image(name, column))
        elif kind == "number":
            inputs.append(fit_number(name, column))
        else:
            feature, rare = fit_category(name, column)
            if not feature.values:
                notes.append(f"{name} is left out: none of its {rare:,} values stands {MIN_COUNT} times in training")
                continue
            inputs.append(feature)
            if rare:
                notes.append(
                    f"{name} keeps the {len(feature.values):,} values seen at least {MIN_COUNT} times; {rare:,} others count as unknown"
                )
    if not inputs:
        raise InputError("no input column is left", expected="columns beside the target", remedy="; ".join(notes))
    return Schema(inputs=tuple(inputs), target=fit_target(typing, train.columns[typing.target])), notes


def fit_image(name: str, pixels: np.ndarray) -> Feature:
    """Mean and standard deviation of each channel of uint8 images (N, C, H, W), of pixels in 0..1."""
    channels = pixels.shape[1]
    sums, squares = np.zeros(channels), np.zeros(channels)
    step = max(1, CHUNK // int(np.prod(pixels.shape[2:])))
    for start in range(0, len(pixels), step):
        for channel in range(channels):
            values = pixels[start : start + step, channel].astype(np.float32).ravel()
            sums[channel] += values.sum(dtype=np.float64)
            squares[channel] += float(values @ values)
    count = pixels.size / channels
    mean = sums / count / 255
    variance = np.maximum(squares / count / 255**2 - mean**2, 0)
    scale = [deviation if deviation > 1e-4 else 1.0 for deviation in np.sqrt(variance).tolist()]
    return Feature(name=name, type="image", shape=tuple(pixels.shape[1:]), mean=tuple(mean.tolist()), scale=tuple(scale))


def fit_number(name: str, column: np.ndarray) -> Feature:
    """Mean, standard deviation and quantiles of a number column (N,) with NaN where a value is missing."""
    present = column[~np.isnan(column)]
    if not len(present):
        return Feature(name=name, type="number", mean=(0.0,), scale=(1.0,), has_missing=True)
    mean, scale = center_and_scale(present)
    edges = bin_edges((present - mean) / scale)
    return Feature(
        name=name,
        type="number",
        mean=(mean,),
        scale=(scale,),
        edges=tuple(float(edge) for edge in edges),
        has_missing=len(present) < len(column),
    )


def bin_edges(values: np.ndarray) -> np.ndarray:
    """At most `MAX_EDGES` increasing float32 edges of bins: every distinct value if they are few, else quantiles.

    Half of the quantiles are those of the values, half those of the distinct values: a column that is zero for most examples would else
    have nearly all its bins at zero, and none where its other values differ.
    """
    distinct = np.unique(values.astype(np.float32))
    if len(distinct) <= MAX_EDGES:
        return distinct
    shares = np.linspace(0, 1, MAX_EDGES // 2)
    return np.unique(np.concatenate([np.quantile(values, shares), np.quantile(distinct, shares)]).astype(np.float32))


def center_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation; 1 in place of a deviation that is 0, or is nothing but rounding."""
    with np.errstate(over="ignore"):
        mean, scale = float(values.mean()), float(values.std())
    if not (np.isfinite(mean) and np.isfinite(scale)):
        # The squares of numbers near the largest float overflow; their halves' halves don't.
        largest = float(np.abs(values).max())
        mean, scale = float((values / largest).mean()) * largest, float((values / largest).std()) * largest
    return mean, scale if scale > 1e-12 * max(1e-300, abs(mean)) and scale > 0 else 1.0


def fit_category(name: str, column: np.ndarray) -> tuple[Feature, int]:
    """The vocabulary of a category column (N,), and how many rare values it leaves out."""
    counts = Counter(column.tolist())
    has_missing = counts.pop(None, 0) > 0
    values = [value for value, count in counts.items() if len(counts) <= MANY_VALUES or count >= MIN_COUNT]
    feature = Feature(name=name, type="category", values=sort_values(values), has_missing=has_missing)
    return feature, len(counts) - len(values)


def sort_values(values: list[str]) -> tuple[str, ...]:
    """Category values in the order of the numbers that they are, if all are, else of the alphabet."""
    try:
        return tuple(sorted(values, key=lambda value: (float(value), value)))
    except ValueError:
        return tuple(sorted(values))


def fit_target(typing: Typing, column: np.ndarray) -> Feature:
    """The classes of the target, or its mean and standard deviation.

    Raises:
        InputError: see `fit`.
    """
    name = typing.target
    assert not is_missing(column).any()
    if typing.target_type == "number":
        if (column == column[0]).all():
            raise InputError(f"all values of the target {name!r} are equal ({column[0]:g})", remedy="Choose another column")
        return fit_number(name, column)
    classes = sort_values(list(set(column.tolist())))
    if len(classes) < 2:
        raise InputError(f"the target {name!r} has only one class in training, {''.join(classes)!r}", expected="at least two")
    return Feature(name=name, type="category", values=classes)

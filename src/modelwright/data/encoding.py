"""Encoding: typed examples to compact tensors by a fitted schema, the same for training and for prediction.

Letters: N examples, C channels, H height, W width, K number columns, M category columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from modelwright.core.schema import Feature, Schema
from modelwright.data.examples import Examples

MAX_DEVIATIONS = 1e4
"""Standard deviations from the mean that an input number is held within, so that a network's products stay finite.

Training values don't reach it below 10^8 rows: of N numbers none is more than sqrt(N) deviations from their mean.
"""


def encode(schema: Schema, examples: Examples) -> dict[str, Tensor]:
    """The inputs of N typed examples as compact tensors.

    Returns:
        `image` uint8 (N, C, H, W); or of a table `numbers` float32 (N, K) standardized and held within `MAX_DEVIATIONS`, 0 where missing;
        `missing` float32 (N, K), 1 where a number is missing of a column that has missing values in training; `categories` int64 (N, M), 0
        for missing and unknown values.
    """
    if schema.kind == "image":
        pixels = examples.columns[schema.image.name]
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == schema.image.shape, f"images {pixels.shape[1:]} for a schema of {schema.image.shape}"
        return {"image": torch.from_numpy(np.require(pixels, requirements=["C", "W"]))}
    count = len(examples)
    numbers = np.zeros((count, len(schema.numbers)), dtype=np.float32)
    missing = np.zeros_like(numbers)
    for index, feature in enumerate(schema.numbers):
        column = standardize(feature, examples.columns[feature.name], MAX_DEVIATIONS)
        absent = np.isnan(column)
        numbers[:, index] = np.where(absent, 0, column)
        if feature.has_missing:
            missing[:, index] = absent
    categories = np.zeros((count, len(schema.categories)), dtype=np.int64)
    for index, feature in enumerate(schema.categories):
        categories[:, index] = look_up(feature.values, examples.columns[feature.name]) + 1
    return {"numbers": torch.from_numpy(numbers), "missing": torch.from_numpy(missing), "categories": torch.from_numpy(categories)}


def encode_target(schema: Schema, examples: Examples) -> Tensor | None:
    """The targets of N typed examples: int64 class indices, -1 where missing or unknown; or float32 standardized numbers, NaN where missing.

    None if the examples have no target column.
    """
    column = examples.columns.get(schema.target.name)
    if column is None:
        return None
    if schema.target.type == "number":
        return torch.from_numpy(standardize(schema.target, column).astype(np.float32))
    return torch.from_numpy(look_up(schema.classes, column))


def standardize(feature: Feature, column: np.ndarray, limit: float = float(np.finfo(np.float32).max)) -> np.ndarray:
    """`(x - mean) / scale` of a number column (N,), as float64; held within `limit`, by default the range of float32."""
    with np.errstate(over="ignore"):
        return np.clip((column - feature.mean[0]) / feature.scale[0], -limit, limit)


def look_up(values: Sequence[str], column: np.ndarray) -> np.ndarray:
    """(N,) int64 index of each element of `column` in `values`, -1 where it is none of them."""
    index: dict[object, int] = {value: position for position, value in enumerate(values)}
    return np.array([index.get(value, -1) for value in column.tolist()], dtype=np.int64)

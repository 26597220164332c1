"""Display: encoded examples as a person sees them, ready for JSON: a picture, a row of values, a passage."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelwright.core.errors import import_extra
from modelwright.core.schema import Feature
from modelwright.data.split import Split

LARGEST_SIDE = 96
"""Pixels of a picture's longer side; larger ones are made smaller."""


def displayed(split: Split, index: int) -> dict[str, Any]:
    """The example at `index` of a split that is no text: `origin`, `target` and `image` (a data URL) or `row` (texts by column).

    Raises:
        InputError: images need a package that is not installed.
    """
    inputs, target = split.take(torch.tensor([index]))
    shown: dict[str, Any] = {"origin": str(split.origins[index])}
    if target is not None:
        shown["target"] = target_text(split.schema.target, target[0])
    if split.schema.kind == "image":
        return {**shown, "image": picture(inputs["image"][0])}
    return {**shown, "row": _row(split, inputs)}


def target_text(feature: Feature, value: Tensor) -> str:
    """An encoded target as a person reads it."""
    if feature.type == "number":
        return _number(feature, float(value))
    return feature.values[int(value)]


def _row(split: Split, inputs: dict[str, Tensor]) -> dict[str, str]:
    schema = split.schema
    numbers, categories = iter(range(len(schema.numbers))), iter(range(len(schema.categories)))
    row = {}
    for feature in schema.inputs:
        if feature.type == "number":
            place = next(numbers)
            absent = float(inputs["missing"][0, place]) > 0
            row[feature.name] = "" if absent else _number(feature, float(inputs["numbers"][0, place]))
        else:
            code = int(inputs["categories"][0, next(categories)])
            row[feature.name] = feature.values[code - 1] if code else ""
    return row


def _number(feature: Feature, encoded: float) -> str:
    """In its own unit, with as many digits as float32 holds."""
    value = encoded * feature.scale[0] + feature.mean[0]
    step = 10.0 ** np.floor(np.log10(max(abs(value), feature.scale[0], 1e-30)) - 5)
    return f"{round(value / step) * step:.6g}"


def picture(pixels: Tensor) -> str:
    """Pixels (C, H, W) uint8 as the data URL of a PNG.

    Raises:
        InputError: the package that writes it is not installed.
    """
    image = import_extra("PIL.Image", "pillow", "vision")
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    if array.shape[2] == 1:
        array = array[:, :, 0]
    elif array.shape[2] not in (3, 4):
        array = array[:, :, :3].mean(2).astype(np.uint8)
    drawn = image.fromarray(array)
    drawn.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

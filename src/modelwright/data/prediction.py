"""Examples to predict: read from a file, a folder or a text stream, and made to fit a schema that was fitted before.

Letters: N examples, C channels, H height, W width.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch.nn import functional as F

from modelwright.core.errors import InputError, closest
from modelwright.core.schema import Feature, FeatureType, Schema
from modelwright.data.cleaning import match_labels
from modelwright.data.config import DataConfig
from modelwright.data.conversion import Faults, convert
from modelwright.data.encoding import encode_target
from modelwright.data.examples import Examples, Origins, Reject, number_text
from modelwright.data.source import find_source
from modelwright.data.table import is_unnamed, parse_table

MAX_CELL_NOTES = 20
"""Cells of one column that are named; the rest are counted."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey level (ITU-R BT.601)."""


def read_examples(argument: str, schema: Schema, config: DataConfig) -> Examples:
    """Read the examples that `argument` names, typed and ready for `Split.of(schema, ...)`.

    The target column is kept if there is one. Bad rows and files are among the `rejects`; cells that had to be taken as missing are told in
    `notes`.

    Args:
        argument: whatever a source recognizes: a table, image files, arrays; also a single image.
        schema: fitted when the model was trained.
        config: how the training data was read.

    Raises:
        InputError: nothing can be read, an input column is absent, or the data is of another kind; or the schema is one of a text.
    """
    if schema.kind == "text":
        raise InputError("a language model generates text", where=argument, remedy="Use modelwright generate RUN --prompt TEXT")
    name, source = find_source(argument, None)
    if name == "text" and schema.kind == "table" and Path(argument).is_file():
        # A table of a single column or of few rows looks like prose.
        name, source = find_source(argument, "delimited")
    size = schema.image.shape[1:] if schema.kind == "image" else None
    raw = source.read(argument, _reading(config, schema, argument).replace(source=name, image_size=size))
    return conform(raw, schema, argument)


def read_stream(stream: TextIO, schema: Schema, config: DataConfig, name: str = "standard input") -> Examples:
    """Read a table from a text stream: JSON objects, one a line, or delimited text with a header or the inputs in their order.

    Raises:
        InputError: see `read_examples`; or the schema is one of images, which are no text.
    """
    if schema.kind == "text":
        raise InputError("a language model generates text", where=name, remedy="Use modelwright generate RUN --prompt TEXT")
    if schema.kind == "image":
        raise InputError("images can't be read as text", where=name, expected="image files or a folder of them")
    try:
        text = stream.read().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(f"is no {error.encoding} text (byte 0x{error.object[error.start]:02x})", where=name) from None
    if not text.strip():
        raise InputError("is empty", where=name, expected="a table with a header, or JSON objects, one a line")
    if text.lstrip().startswith("{"):
        return conform(parse_json_lines(text, name, config), schema, name)
    columns = [feature.name for feature in schema.inputs]
    return conform(parse_table(text, name, _reading(config, schema, name), columns), schema, name)


def parse_json_lines(text: str, name: str, config: DataConfig) -> Examples:
    """The table of JSON objects, one a line; a key that an object lacks is missing there, and bad lines are rejects.

    Raises:
        InputError: no line holds an object.
    """
    missing = set(config.missing_values)
    rows: list[dict[str, str | None]] = []
    lines: list[int] = []
    rejects: list[Reject] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(_json_row(line, missing))
            lines.append(number)
        except ValueError as error:
            rejects.append(Reject(f"{name} line {number}", str(error)))
    if not rows:
        raise InputError(f"no line can be read: {rejects[0].reason}", where=name, expected="JSON objects, one a line")
    return _table_of(rows, Origins.within(name, "line", lines), tuple(rejects))


def parse_json_rows(rows: Sequence[Mapping[str, Any]], name: str, config: DataConfig) -> Examples:
    """The table of JSON objects that were read already, as `parse_json_lines` makes it of their lines.

    Raises:
        InputError: a value is an array or an object.
    """
    missing, values = set(config.missing_values), []
    for number, row in enumerate(rows, 1):
        try:
            values.append(_texts(row, missing))
        except ValueError as error:
            raise InputError(str(error), where=f"{name} {number}") from None
    return _table_of(values, Origins.within(name, "number", range(1, len(rows) + 1)))


def _table_of(rows: Sequence[Mapping[str, str | None]], origins: Origins, rejects: tuple[Reject, ...] = ()) -> Examples:
    columns: dict[str, np.ndarray] = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        column = np.empty(len(rows), dtype=object)
        column[:] = [row.get(key) for row in rows]
        columns[key] = column
    return Examples(columns, origins, rejects=rejects)


def _json_row(line: str, missing: set[str]) -> dict[str, str | None]:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error.msg} at character {error.pos + 1})") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except ValueError:
        # Of what is JSON, Python refuses only whole numbers of thousands of digits.
        raise ValueError("holds a number of too many digits") from None
    if not isinstance(values, dict):
        raise ValueError("is no JSON object")
    return _texts(values, missing)


def _texts(values: Mapping[str, Any], missing: set[str]) -> dict[str, str | None]:
    row: dict[str, str | None] = {}
    for key, value in values.items():
        if isinstance(value, dict | list):
            raise ValueError(f"{key}: is no single value")
        text = None if value is None else _json_text(value)
        row[key] = None if text in missing else text
    return row


def _json_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value):
        return number_text(value)
    return str(value).strip()


def _reading(config: DataConfig, schema: Schema, argument: str) -> DataConfig:
    """How to read new data: as the training data, with the schema's names telling a header."""
    features = (*schema.inputs, schema.target)
    unnamed = is_unnamed([feature.name for feature in features])
    header = False if config.header is None and unnamed else config.header
    types: Mapping[str, FeatureType] = {feature.name: feature.type for feature in features}
    return config.replace(path=argument or ".", types=dict(types), header=header, ignore=(), target=None)


def conform(raw: Examples, schema: Schema, where: str) -> Examples:
    """Raw examples made to fit the schema: its inputs, and its target if it is there, each of its type.

    Raises:
        InputError: an input is absent, or there are images for a schema of a table or the other way round.
    """
    if schema.kind == "image":
        return _conform_images(raw, schema, where)
    absent = [feature.name for feature in schema.inputs if feature.name not in raw.columns]
    if absent:
        found = "holds images" if "image" in raw.columns else f"lacks the column{'s' * (len(absent) > 1)} {', '.join(absent[:5])}"
        near = closest(absent[0], raw.columns)
        remedy = f"Is {near} the column that is meant?" if near else None
        raise InputError(found, where=where, expected=f"the {len(schema.inputs)} input columns of the training data", remedy=remedy)
    features = [*schema.inputs, *([schema.target] if schema.target.name in raw.columns else [])]
    typed, faults = convert(raw, {feature.name: feature.type for feature in features})
    notes = [*raw.notes, *_cell_notes(raw, faults), *_unknown_notes(typed, schema.categories)]
    return _match_target(typed.replace(notes=tuple(notes)), schema)


def _match_target(typed: Examples, schema: Schema) -> Examples:
    name = schema.target.name
    if name not in typed.columns or schema.target.type != "category":
        return typed
    labels, _ = match_labels(typed.columns[name], set(schema.classes))
    return typed.replace(columns={**typed.columns, name: labels})


def _cell_notes(raw: Examples, faults: Faults) -> list[str]:
    notes: list[str] = []
    for reason, masks in (("is no number", faults.unreadable), ("is infinite", faults.infinite)):
        for name, mask in masks.items():
            bad = np.flatnonzero(mask)
            for index in bad[:MAX_CELL_NOTES]:
                notes.append(f"{raw.origins[index]}: {name}: {str(raw.columns[name][index])!r} {reason}, taken as missing")
            if len(bad) > MAX_CELL_NOTES:
                notes.append(f"{name}: {len(bad) - MAX_CELL_NOTES:,} more such values")
    return notes


def _unknown_notes(typed: Examples, features: tuple[Feature, ...]) -> list[str]:
    notes: list[str] = []
    for feature in features:
        unknown = set(typed.columns[feature.name].tolist()) - {None, *feature.values}
        if unknown:
            shown = ", ".join(repr(value) for value in sorted(unknown)[:3])
            notes.append(
                f"{feature.name}: {len(unknown):,} value{'s' * (len(unknown) > 1)} never seen in training, taken as unknown ({shown})"
            )
    return notes


def _conform_images(raw: Examples, schema: Schema, where: str) -> Examples:
    if "image" not in raw.columns:
        raise InputError("holds no images", where=where, expected=f"images as in training ({'x'.join(map(str, schema.image.shape))})")
    pixels, notes = fit_pixels(raw.columns["image"], schema.image.shape)
    columns = {schema.image.name: pixels}
    types: dict[str, FeatureType] = {schema.image.name: "image"}
    target = raw.columns.get(schema.target.name)
    if target is not None:
        columns[schema.target.name] = target
        types[schema.target.name] = schema.target.type
    typed, _ = convert(raw.replace(columns=columns, notes=(*raw.notes, *notes)), types)
    return _match_target(typed, schema)


def fit_pixels(pixels: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, list[str]]:
    """Images (N, C, H, W) uint8 at the channels and the size of `shape`, and notes on what was changed."""
    notes: list[str] = []
    channels, size = shape[0], tuple(shape[1:])
    if pixels.shape[1] != channels:
        notes.append(f"images of {pixels.shape[1]} channels are read as {channels}, as in training")
        if channels == 1 and pixels.shape[1] >= 3:
            pixels = np.rint(np.einsum("nchw,c->nhw", pixels[:, :3], LUMA))[:, None].astype(np.uint8)
        elif pixels.shape[1] == 1 and channels in (3, 4):
            pixels = np.repeat(pixels, channels, axis=1)
            pixels[:, 3:] = 255
        elif pixels.shape[1] == 4 and channels == 3:
            pixels = np.ascontiguousarray(pixels[:, :3])
        else:
            raise InputError(f"images of {pixels.shape[1]} channels", expected=f"{channels}")
    if pixels.shape[2:] != size:
        notes.append(f"images of {'x'.join(map(str, pixels.shape[2:]))} are resized to {'x'.join(map(str, size))}, as in training")
        resized = F.interpolate(torch.from_numpy(np.array(pixels)), list(size), mode="bilinear", antialias=True)
        pixels = resized.numpy()
    return pixels, notes


def labeled(examples: Examples, schema: Schema) -> Examples:
    """The typed examples whose target is known and was seen in training; the others become rejects.

    Raises:
        InputError: there is no target column, or none of the targets can be used.
    """
    target = encode_target(schema, examples)
    if target is None:
        raise InputError(f"there is no target column {schema.target.name!r}", expected="examples with the answers, to score against")
    known = (~torch.isnan(target) if target.is_floating_point() else target >= 0).numpy()
    if not known.any():
        raise InputError(f"none of the values of {schema.target.name!r} can be scored", expected="values as in the training data")
    values = examples.columns[schema.target.name]
    rejects = tuple(
        Reject(examples.origins[i], f"the label {values[i]!r} was never seen in training" if isinstance(values[i], str) else "no target")
        for i in np.flatnonzero(~known)
    )
    return examples.take(known).replace(rejects=(*examples.rejects, *rejects))

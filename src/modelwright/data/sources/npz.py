"""NumPy archives (.npz): inputs and targets as arrays, whole or for each split; or one array a column."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from modelwright.core.errors import InputError
from modelwright.core.schema import FeatureType
from modelwright.data.config import DataConfig
from modelwright.data.examples import Examples, Origins, number_text
from modelwright.data.source import SPLIT_WORDS, sources

INPUTS = ("x", "inputs", "images", "image", "data", "features")
TARGETS = ("y", "target", "targets", "labels", "label")
MAX_CLASSES = 1000
"""Whole numbers beside images are classes up to this many."""


def _role(name: str) -> tuple[str, str | None] | None:
    """(`input` or `target`, split) of an array's name: `x_train`, `test_labels`, `X`; None for any other."""
    words = name.lower().replace("-", "_").split("_")
    splits = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
    rest = [word for word in words if word not in SPLIT_WORDS]
    if len(rest) != 1 or len(splits) > 1:
        return None
    role = "input" if rest[0] in INPUTS else "target" if rest[0] in TARGETS else None
    return None if role is None else (role, splits[0] if splits else None)


@sources.register("npz")
class Npz:
    """Reads NumPy archives; objects in them are refused, since loading them could run code."""

    accepts = "a NumPy archive (.npz) with x and y, with x_train, y_train, x_test and y_test, or with one array a column"
    names: tuple[str, ...] = ()

    def recognizes(self, argument: str) -> float:
        """Sure of the suffix."""
        return float(Path(argument).is_file() and Path(argument).suffix.lower() == ".npz")

    def read(self, argument: str, config: DataConfig) -> Examples:
        """Read all arrays.

        Raises:
            InputError: the archive is damaged, holds objects, its arrays don't fit together, or a split has targets or inputs only.
        """
        arrays = load_arrays(Path(argument))
        name = Path(argument).name
        roles = {key: _role(key) for key in arrays}
        inputs = {role[1]: key for key, role in roles.items() if role and role[0] == "input"}
        targets = {role[1]: key for key, role in roles.items() if role and role[0] == "target"}
        if not inputs or (len(arrays) > len(inputs) + len(targets)):
            return self._columns(arrays, name)
        alone = [inputs.get(split, targets.get(split)) for split in {**inputs, **targets} if (split in inputs) != (split in targets)]
        if targets and alone:
            raise InputError(
                f"the array {alone[0]} has no counterpart",
                where=argument,
                expected="inputs and targets for each split, like x_test and y_test",
                remedy="Add the other one, or leave this one out",
            )
        parts = [self._part(arrays, key, targets.get(split), split, name) for split, key in inputs.items()]
        shapes = {part.columns["image"].shape[1:] if "image" in part.columns else tuple(part.columns) for part in parts}
        if len(shapes) > 1:
            raise InputError("the inputs of its splits are of several shapes", where=argument)
        return Examples.concat(parts)

    def _part(self, arrays: dict[str, np.ndarray], key: str, target: str | None, split: str | None, name: str) -> Examples:
        columns = _input_columns(arrays[key], f"{name} array {key}")
        types: dict[str, FeatureType] = {}
        count = len(arrays[key])
        if target is not None:
            values = arrays[target].squeeze(-1) if arrays[target].ndim == 2 and arrays[target].shape[1] == 1 else arrays[target]
            if values.shape != (count,):
                raise InputError(
                    f"has the shape {values.shape}", where=f"{name} array {target}", expected=f"({count},), one value for each of {key}"
                )
            columns["target"] = as_column(values)
            whole = values.dtype.kind in "iub" and len(np.unique(values)) <= MAX_CLASSES
            if whole and "image" in columns:
                types["target"] = "category"
        origins = Origins.within(f"{name} {key}", "row", np.arange(1, count + 1))
        given = None if split is None else np.full(count, split, dtype="<U10")
        return Examples(columns, origins, given, "target" if target is not None else None, types)

    def _columns(self, arrays: dict[str, np.ndarray], name: str) -> Examples:
        lengths = {key: array.shape for key, array in arrays.items()}
        if any(len(shape) != 1 for shape in lengths.values()) or len({shape[0] for shape in lengths.values()}) > 1:
            shown = ", ".join(f"{key} {shape}" for key, shape in list(lengths.items())[:6])
            raise InputError(f"its arrays don't fit together ({shown})", where=name, expected=self.accepts)
        count = len(next(iter(arrays.values())))
        origins = Origins.within(name, "row", np.arange(1, count + 1))
        return Examples({key: as_column(array) for key, array in arrays.items()}, origins)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive, by name.

    Raises:
        InputError: the archive is damaged or empty, or an array holds objects.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise InputError(f"is no readable NumPy archive ({error})", where=path, remedy="Copy or make it again") from None
    except ValueError as error:
        if "pickle" not in str(error):
            raise InputError(f"can't be read ({error})", where=path) from None
        raise InputError(
            "holds Python objects, which could run code when loaded", where=path, expected="arrays of numbers or text"
        ) from None
    if not arrays or any(array.ndim == 0 or not len(array) for array in arrays.values()):
        raise InputError("holds no arrays, or an empty one", where=path)
    return arrays


def as_column(values: np.ndarray) -> np.ndarray:
    """A vector as a table's column: numbers as float64, text and truth values as objects.

    Raises:
        InputError: the values are neither.
    """
    if values.dtype.kind in "iuf":
        return values.astype(np.float64)
    if values.dtype.kind in "US":
        texts = np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values
        return np.array([text or None for text in texts.tolist()], dtype=object)
    if values.dtype.kind == "b":
        return np.array(["false", "true"], dtype=object)[values.astype(np.intp)]
    raise InputError(f"an array of the type {values.dtype} is no column", expected="numbers, text or truth values")


def _input_columns(values: np.ndarray, where: str) -> dict[str, np.ndarray]:
    """The columns that an array of inputs makes: numbers (N, D) make D, images (N, H, W) or with channels make one."""
    if values.ndim == 1:
        return {"x": as_column(values)}
    if values.ndim == 2:
        return {f"column_{index + 1}": as_column(values[:, index]) for index in range(values.shape[1])}
    if values.ndim not in (3, 4):
        raise InputError(f"has the shape {values.shape}", where=where, expected="rows of numbers, or images")
    return {"image": to_pixels(values, where)}


def to_pixels(values: np.ndarray, where: str) -> np.ndarray:
    """Images (N, H, W), (N, H, W, C) or (N, C, H, W) as uint8 (N, C, H, W).

    Raises:
        InputError: there is no axis of 1, 3 or 4 channels, or the values lie neither in 0..1 nor in 0..255.
    """
    if values.ndim == 3:
        values = values[:, None]
    elif values.shape[-1] in (1, 3, 4):
        values = values.transpose(0, 3, 1, 2)
    elif values.shape[1] not in (1, 3, 4):
        raise InputError(f"images of the shape {values.shape}", where=where, expected="1, 3 or 4 channels, first or last")
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if values.dtype.kind not in "iufb":
        raise InputError(f"images of the type {values.dtype}", where=where, expected="numbers")
    low, high = (
        (float(values.min()), float(values.max())) if values.dtype.kind != "f" else (float(np.nanmin(values)), float(np.nanmax(values)))
    )
    finite = values.dtype.kind != "f" or bool(np.isfinite(values).all())
    if not finite or low < 0 or high > 255:
        shown = f"{number_text(low)} to {number_text(high)}" if finite else "not all finite"
        raise InputError(f"pixel values are {shown}", where=where, expected="0 to 1, or 0 to 255")
    unit = values.dtype.kind in "fb" and high <= 1
    return np.ascontiguousarray(np.rint(values * 255.0 if unit else values).astype(np.uint8))

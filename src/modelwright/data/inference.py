"""Inference of the schema's types: which column is the target, what type each column is, and which columns say nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modelwright.core.errors import InputError, unknown_name
from modelwright.core.schema import FeatureType
from modelwright.data.config import DataConfig
from modelwright.data.conversion import is_missing
from modelwright.data.examples import Examples
from modelwright.data.numbers import DATE, share_of_numbers, to_numbers

TARGET_NAMES = ("target", "label", "class", "y", "labels", "outcome", "output")
MAX_NUMBER_CLASSES = 20
"""A target of whole numbers is a category up to this many distinct ones."""
MOSTLY = 0.95
"""A column with this share of numbers among its distinct values is a column of numbers with some that are misspelled."""
DISTINCT_TEXT = 0.9
"""A text column with this share of distinct values identifies its rows and tells nothing of others."""
FEW_ROWS = 20
"""Below this many rows, distinct values may be chance."""


@dataclass(frozen=True, slots=True)
class Typing:
    """What each column is.

    Attributes:
        target: name of the target column.
        target_type: `category` or `number`.
        inputs: type of each input column that is kept, in the order of the table.
        notes: what was left out or decided, and why.
    """

    target: str
    target_type: FeatureType
    inputs: dict[str, FeatureType]
    notes: tuple[str, ...] = ()


def infer(examples: Examples, config: DataConfig) -> Typing:
    """Choose the target and a type for every column; a given test split takes no part in it.

    Raises:
        InputError: a named column doesn't exist, the target or a requested column is all missing, a type doesn't fit, or no input is left.
    """
    for name in (*config.ignore, *config.types):
        if name not in examples.columns:
            raise unknown_name("column", name, examples.columns)
    target = choose_target(examples, config)
    seen = examples if examples.split is None else examples.take(examples.split != "test")
    if not len(seen):
        raise InputError("there are no training examples", where=config.path)
    target_type = config.types.get(target) or examples.types.get(target) or infer_target_type(seen.columns[target], target)
    if target_type == "image":
        raise InputError(f"the target {target!r} can't be of type image", expected="number or category")
    _require_values(seen.columns[target], target, "the target")
    candidates = [name for name in examples.columns if name != target and name not in config.ignore]
    inputs: dict[str, FeatureType] = {}
    notes: list[str] = []
    if "image" in candidates:
        _check_image_type(config)
        rest = [name for name in candidates if name != "image"]
        return Typing(target, target_type, {"image": "image"}, tuple(f"{name} is left out: only the image is read" for name in rest))
    for name in candidates:
        wanted = config.types.get(name)
        if wanted == "image":
            raise InputError(f"the column {name!r} holds no images", expected="number or category")
        if wanted is not None:
            _require_values(seen.columns[name], name, "the column")
            inputs[name] = wanted
            continue
        kind, note = infer_input_type(seen.columns[name])
        if kind is not None:
            inputs[name] = examples.types.get(name, kind)
        if note:
            notes.append(f"{name} {note}")
    if not inputs:
        raise InputError(
            "no input column is left", where=config.path, expected="columns beside the target", remedy="; ".join(notes) or None
        )
    return Typing(target, target_type, inputs, tuple(notes))


def _check_image_type(config: DataConfig) -> None:
    if config.types.get("image", "image") != "image":
        raise InputError("the column 'image' holds images", expected="no other type for it")


def choose_target(examples: Examples, config: DataConfig) -> str:
    """The column to be predicted: the one that is asked for, else the source's, else one of a telling name, else the last.

    Raises:
        InputError: the column doesn't exist, is ignored, or there is no column beside it.
    """
    names = list(examples.columns)
    if config.target is not None:
        if config.target not in names:
            raise unknown_name("target column", config.target, names)
        if config.target in config.ignore:
            raise InputError(f"the target {config.target!r} is among the ignored columns")
        return config.target
    left = [name for name in names if name not in config.ignore]
    if len(left) < 2 or (examples.target is not None and examples.target not in names):
        found = "the images have no classes" if "image" in names else f"there is only one column, {', '.join(left)}"
        remedy = (
            "Put the images of each class into a subfolder of its name"
            if "image" in names
            else "Set delimiter if another one parts the columns"
        )
        raise InputError(found, where=config.path, expected="inputs and a target", remedy=remedy)
    if examples.target is not None and examples.target in left:
        return examples.target
    lower = {name.lower(): name for name in left}
    return next((lower[name] for name in TARGET_NAMES if name in lower), left[-1])


def infer_target_type(column: np.ndarray, name: str) -> FeatureType:
    """Category or number: text is a category, and so are whole numbers of few distinct values, or any two values.

    Raises:
        InputError: all values are missing.
    """
    _require_values(column, name, "the target")
    if column.dtype == object:
        texts = set(column.tolist()) - {None}
        share = share_of_numbers(texts)
        if share < 1 and not (share >= MOSTLY and len(texts) > MAX_NUMBER_CLASSES):
            return "category"
    numbers, _ = to_numbers(column)
    finite = numbers[np.isfinite(numbers)]
    distinct = np.unique(finite)
    whole = bool((distinct == np.floor(distinct)).all())
    few = whole and len(distinct) <= min(MAX_NUMBER_CLASSES, max(2, len(finite) // 2))
    return "category" if few or len(distinct) == 2 else "number"


def infer_input_type(column: np.ndarray) -> tuple[FeatureType | None, str]:
    """The type of an input column, or None if it is left out; and a note for the user, empty if there is nothing to say."""
    if column.dtype != object:
        present = column[np.isfinite(column)]
        return _judge_numbers(present, len(column))
    texts = set(column.tolist()) - {None}
    if not texts:
        return None, "is left out: all values are missing"
    present = int(np.sum(~is_missing(column)))
    share = share_of_numbers(texts)
    coded = any(len(text) > 1 and text[0] == "0" and text.isdigit() for text in texts)
    if not coded and (share == 1 or (share >= MOSTLY and len(texts) > MAX_NUMBER_CLASSES)):
        numbers, bad = to_numbers(column)
        kind, note = _judge_numbers(numbers[np.isfinite(numbers)], len(column))
        if kind and bad.any():
            note = f"holds {int(bad.sum()):,} values that are no numbers, taken as missing"
        elif kind and any(DATE.fullmatch(text) for text in texts):
            note = "holds dates, read as days since 1970"
        return kind, note
    if len(texts) == 1 and present == len(column):
        return None, "is left out: all values are equal"
    if present >= FEW_ROWS and len(texts) >= DISTINCT_TEXT * present:
        return None, f"is left out: {len(texts):,} distinct texts in {present:,} rows tell the rows apart and nothing else"
    return "category", ""


def _judge_numbers(present: np.ndarray, rows: int) -> tuple[FeatureType | None, str]:
    """`number`, unless the values are missing, constant, or just count the rows."""
    if not len(present):
        return None, "is left out: all values are missing"
    if len(present) == rows and (present == present[0]).all():
        return None, "is left out: all values are equal"
    if len(present) == rows >= FEW_ROWS and (np.diff(present) == 1).all():
        return None, "is left out: it counts the rows"
    return "number", ""


def _require_values(column: np.ndarray, name: str, what: str) -> None:
    if is_missing(column).all():
        raise InputError(f"{what} {name!r} has no values: all are missing", remedy="Choose another column")

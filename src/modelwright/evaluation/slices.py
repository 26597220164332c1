"""Slices: how good a model is on parts of a split that a person would ask about: values of a column, dark images, large targets.

Letters: N examples.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modelwright.core.schema import Feature, Schema
from modelwright.data.split import Split
from modelwright.evaluation.comparison import errors_of
from modelwright.evaluation.examplewise import Examplewise
from modelwright.evaluation.significance import groups_against_rest, holm
from modelwright.metrics.estimate import Estimate
from modelwright.tasks.task import Task

SMALLEST = 10
"""Examples of a slice, at least: fewer tell nothing."""
MOST_COLUMNS = 40
"""Columns of numbers, and of categories, that a table is cut by: the first ones."""
MOST_VALUES = 8
"""Values of a category that are slices of their own."""
QUARTERS = 4


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a split.

    Attributes:
        column: what it is cut by.
        value: which part.
        count: examples in it.
        estimate: the primary metric there.
        p_value: that chance alone makes it so different from the rest, corrected for the number of slices (Holm).
    """

    column: str
    value: str
    count: int
    estimate: Estimate
    p_value: float

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "column": self.column,
            "value": self.value,
            "count": self.count,
            "estimate": self.estimate.to_dict(),
            "p_value": self.p_value,
        }


def slices(
    schema: Schema, split: Split, seen: Examplewise, task: Task, *, deadline: float = math.inf, replicates: int = 200, seed: int = 0
) -> list[Slice]:
    """Every slice that is large enough, in the order of the columns.

    Args:
        schema: of the split.
        split: no text.
        seen: what the model says of it.
        task: whose primary metric is told.
        deadline: `time.monotonic()` after which no other slice is looked at.
        replicates: of the bootstrap.
        seed: of bootstrap and permutations.
    """
    errors = errors_of(task, seen.output, seen.target).values
    found: list[tuple[str, str, int, Estimate]] = []
    members: list[Tensor] = []
    for column, value, member in _groups(schema, split):
        if time.monotonic() > deadline:
            break
        count = int(member.sum())
        if not SMALLEST <= count < len(member):
            continue
        meter = task.meter(replicates, seed)
        meter.update(seen.output[member], seen.target[member])
        estimate = meter.compute()[task.primary]
        found.append((column, value, count, estimate))
        members.append(member)
    if not found:
        return []
    p_values = holm(groups_against_rest(errors, torch.stack(members, dim=1), seed))
    return [Slice(*row, p_value) for row, p_value in zip(found, p_values, strict=True)]


def _groups(schema: Schema, split: Split) -> Iterator[tuple[str, str, Tensor]]:
    """Column, value and members (N,) of every slice."""
    if schema.kind == "image":
        pixels = split.inputs["image"].float().flatten(1)
        yield from _quarters("brightness", pixels.mean(1), ("dark", "rather dark", "rather bright", "bright"))
        yield from _quarters("contrast", pixels.std(1), ("low", "rather low", "rather high", "high"))
    else:
        for index, feature in enumerate(schema.numbers[:MOST_COLUMNS]):
            column = split.inputs["numbers"][:, index]
            absent = split.inputs["missing"][:, index] > 0
            if absent.any():
                yield feature.name, "missing", absent
            yield from _quarters(feature.name, _own_unit(feature, column), None, ~absent)
        for index, feature in enumerate(schema.categories[:MOST_COLUMNS]):
            column = split.inputs["categories"][:, index]
            counts = torch.bincount(column, minlength=len(feature.values) + 1)
            for code in counts.argsort(descending=True, stable=True)[:MOST_VALUES].tolist():
                yield feature.name, feature.values[code - 1] if code else "missing or unseen", column == code
    if schema.target.type == "number" and split.target is not None:
        yield from _quarters(f"target {schema.target.name}", _own_unit(schema.target, split.target), None)


def _own_unit(feature: Feature, column: Tensor) -> Tensor:
    return column.double() * feature.scale[0] + feature.mean[0]


def _quarters(name: str, values: Tensor, words: tuple[str, ...] | None, known: Tensor | None = None) -> Iterator[tuple[str, str, Tensor]]:
    """A quarter of the examples each by `values` (N,), or a slice a value where there are few different ones."""
    known = torch.ones_like(values, dtype=torch.bool) if known is None else known
    if not known.any():
        return
    different = values[known].unique()
    if words is None and len(different) <= QUARTERS:
        for value in different.tolist():
            yield name, f"{value:.4g}", known & (values == value)
        return
    inner = torch.quantile(values[known].double(), torch.linspace(0, 1, QUARTERS + 1, dtype=torch.float64))
    edges = inner.unique().tolist()
    for place, (low, high) in enumerate(itertools.pairwise(edges)):
        last = place == len(edges) - 2
        member = known & (values >= low) & ((values <= high) if last else (values < high))
        text = words[place] if words and len(edges) == QUARTERS + 1 else f"{low:.4g} to {high:.4g}"
        yield name, text, member

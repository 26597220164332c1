"""Cleaning: unlabeled, unseen, repeated and leaking examples are found, counted and set aside.

A test split that the data came with is never made easier: a repeated example stays in it, so that its score compares with published ones.
"""

from __future__ import annotations

import hashlib

import numpy as np

from modelwright.core.errors import InputError
from modelwright.data.conversion import is_missing
from modelwright.data.examples import Examples, Reject
from modelwright.data.report import Report

COARSE = 0.1
"""Where more than this share of a table's rows repeat others, its columns are so coarse that repeats are chance."""


def drop_unlabeled(examples: Examples, target: str, report: Report) -> Examples:
    """Set the examples without a target aside.

    A given split without any target is left out as a whole, as contests give it.

    Raises:
        InputError: no example of the training split has a target.
    """
    missing = is_missing(examples.columns[target])
    if not missing.any():
        return examples
    for split in ("validation", "test"):
        inside = np.zeros(len(examples), dtype=bool) if examples.split is None else examples.split == split
        if inside.any() and missing[inside].all():
            report.note(f"the given {split} split is left out: its {int(inside.sum()):,} examples have no {target}")
            examples, missing = examples.take(~inside), missing[~inside]
    if missing.all():
        raise InputError(f"the target {target!r} has no values that can be used", remedy="Choose another column")
    reasons = [Reject(examples.origins[index], f"no value for the target {target!r}") for index in np.flatnonzero(missing)]
    report.set_aside("no target", reasons)
    return examples.take(~missing)


def match_labels(labels: np.ndarray, vocabulary: set[str]) -> tuple[np.ndarray, int]:
    """Labels that miss the vocabulary only by blanks or full stops at their end, read as the ones that are meant; and how many.

    Published test files write labels otherwise than their training files, as UCI Adult does with `<=50K.`.
    """
    meant = {_bare(value): value for value in vocabulary}
    changed = {
        label: meant[_bare(label)]
        for label in set(labels.tolist())
        if label is not None and label not in vocabulary and _bare(label) in meant
    }
    if not changed:
        return labels, 0
    values = labels.tolist()
    column = np.empty(len(values), dtype=object)
    column[:] = [changed.get(value, value) for value in values]
    return column, sum(value in changed for value in values)


def _bare(label: str) -> str:
    return label.strip().rstrip(". ")


def reconcile_labels(examples: Examples, target: str, report: Report, why: str = "was never seen in training") -> Examples:
    """Make the labels of given validation and test splits agree with those of training; set aside those that it lacks.

    Args:
        why: the reason that is told of a label that training lacks.

    Raises:
        InputError: no label of a given split occurs in training.
    """
    if examples.split is None or not (examples.split == "train").any():
        return examples
    labels = examples.columns[target]
    train = examples.split == "train"
    vocabulary = set(labels[train].tolist())
    labels, count = match_labels(labels, vocabulary)
    if count:
        report.note(f"{count:,} labels of {target} are read without the full stop or blank at their end, as the training split writes them")
        examples = examples.replace(columns={**examples.columns, target: labels})
    unseen = ~train & np.array([label not in vocabulary for label in labels.tolist()], dtype=bool)
    if not unseen.any():
        return examples
    for split in ("validation", "test"):
        inside = examples.split == split
        if inside.any() and unseen[inside].all():
            raise InputError(
                f"each label in the {split} split ({', '.join(sorted(set(labels[inside].tolist()))[:5])}) {why}",
                expected=f"some of {', '.join(sorted(vocabulary)[:5])}",
            )
    report.set_aside(
        "unseen label",
        [Reject(examples.origins[i], f"the label {labels[i]!r} of {target} {why}") for i in np.flatnonzero(unseen)],
    )
    return examples.take(~unseen)


def row_keys(examples: Examples, names: list[str]) -> np.ndarray:
    """(N,) uint64 keys that are equal where all the named columns are; of a 64-bit digest, so 100,000 rows collide once in 10^9 sets."""
    parts: list[np.ndarray] = []
    for name in names:
        column = examples.columns[name]
        if column.dtype == object:
            codes: dict[object, int] = {}
            column = np.array([codes.setdefault(value, len(codes)) for value in column.tolist()], dtype=np.int64)
        elif column.dtype == np.float64:
            column = np.where(np.isnan(column), np.nan, column + 0.0)  # one NaN, and no minus zero
        flat = np.ascontiguousarray(column).reshape(len(column), -1)
        parts.append(flat.view(np.uint8))
    rows = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    digests = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, dtype=np.uint64)


def drop_repeats(examples: Examples, target: str, drop: bool | None, report: Report) -> Examples:
    """Count conflicts, duplicates and leaks, and take duplicates and leaks out of the training split.

    A duplicate equals an earlier example in all inputs and in the target. A leak equals one of a later split (train, validation, test);
    it leaves the earlier split.

    Args:
        drop: whether to take them out; None: yes, unless the table is coarse.

    Raises:
        InputError: all training examples stand in the other splits too.
    """
    inputs = [name for name in examples.columns if name != target]
    input_keys = row_keys(examples, inputs)
    target_keys = row_keys(examples, [target])
    keys = input_keys ^ (target_keys * np.uint64(0x9E3779B97F4A7C15))
    report.conflicts = _conflicts(input_keys, keys)
    split = np.full(len(examples), "train", dtype="<U10") if examples.split is None else examples.split
    reasons: dict[int, tuple[str, str]] = {}
    for name in dict.fromkeys(split.tolist()):
        inside = np.flatnonzero(split == name)
        repeats, first = _repeats(keys[inside])
        if len(repeats):
            report.duplicates = {**report.duplicates, name: len(repeats)}
        if name == "train":
            pairs = zip(inside[repeats].tolist(), inside[first].tolist(), strict=True)
            reasons |= {i: ("duplicate", f"exact duplicate of {examples.origins[j]}") for i, j in pairs}
    for earlier, later in (("train", "validation"), ("validation", "test"), ("train", "test")):
        leaks = _leaks(keys, np.flatnonzero(split == earlier), np.flatnonzero(split == later))
        if leaks:
            report.leaks = {**report.leaks, f"{earlier} in {later}": len(leaks)}
            reasons |= {i: ("leak", f"stands in the {later} split too, as {examples.origins[j]}") for i, j in leaks.items()}
    if drop is None and "image" not in examples.columns:
        drop = len(reasons) <= COARSE * len(examples)
        if not drop:
            report.note(f"{len(reasons):,} rows repeat others; they stay, since columns this coarse repeat by chance")
    if not reasons or drop is False:
        return examples
    for kind in ("duplicate", "leak"):
        report.set_aside(kind, [Reject(examples.origins[i], reason) for i, (cause, reason) in sorted(reasons.items()) if cause == kind])
    keep = np.ones(len(examples), dtype=bool)
    keep[list(reasons)] = False
    if not (keep & (split == "train")).any():
        raise InputError("every training example stands in the other splits too", remedy="Look at how the splits were made")
    return examples.take(keep)


def _conflicts(input_keys: np.ndarray, keys: np.ndarray) -> int:
    """How many examples have the inputs of another whose target differs."""
    order = np.lexsort((keys, input_keys))
    _, start, count = np.unique(input_keys[order], return_index=True, return_counts=True)
    sorted_keys = keys[order]
    mixed = sorted_keys[start] != sorted_keys[start + count - 1]
    return int(count[mixed].sum())


def _repeats(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of keys that occurred before, and the first position of each of them."""
    _, index, inverse = np.unique(keys, return_index=True, return_inverse=True)
    first = index[inverse]
    repeats = np.flatnonzero(first != np.arange(len(keys)))
    return repeats, first[repeats]


def _leaks(keys: np.ndarray, earlier: np.ndarray, later: np.ndarray) -> dict[int, int]:
    """For each example of `earlier` that stands in `later` too, the first such one there."""
    found = earlier[np.isin(keys[earlier], keys[later])]
    if not len(found):
        return {}
    values, index = np.unique(keys[later], return_index=True)
    return dict(zip(found.tolist(), later[index[np.searchsorted(values, keys[found])]].tolist(), strict=True))

"""Numbers as text has them: decimal numbers, and ISO dates as days since 1970."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

import numpy as np

DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?")
SECONDS_A_DAY = 86_400


def parse_number(text: str) -> float | None:
    """The number in `text`: a decimal number, or an ISO date (with or without a time) as days since 1970; None if it is neither."""
    if "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return parse_date(text)


def parse_date(text: str) -> float | None:
    """Days since 1970 of an ISO date, with its time as a fraction (UTC where no offset is given); None if `text` is no such date."""
    if not DATE.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() / SECONDS_A_DAY


def to_numbers(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A column (N,) as float64 with NaN where there is no number, and (N,) True where there is a value that is no number."""
    if column.dtype != object:
        return column.astype(np.float64), np.zeros(len(column), dtype=bool)
    known: dict[object, float] = {value: _number(value) for value in set(column.tolist())}
    unreadable = {value for value, number in known.items() if number != number and value is not None}
    values = column.tolist()
    numbers = np.array([known[value] for value in values], dtype=np.float64)
    bad = np.array([value in unreadable for value in values], dtype=bool) if unreadable else np.zeros(len(values), dtype=bool)
    return numbers, bad


def _number(value: object) -> float:
    number = None if value is None else parse_number(str(value))
    return np.nan if number is None else number


def share_of_numbers(texts: Iterable[str]) -> float:
    """The share of `texts` that are numbers; 0 if there are none."""
    total = readable = 0
    for text in texts:
        total += 1
        readable += parse_number(text) is not None
    return readable / total if total else 0.0

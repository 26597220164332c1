"""Amounts with units: budgets as people write them, and numbers as people read them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from modelwright.core.errors import InputError, closest

Unit = str
UNITS: dict[str, str] = {
    "s": "seconds", "sec": "seconds", "second": "seconds", "seconds": "seconds",
    "epoch": "epochs", "epochs": "epochs",
    "step": "steps", "steps": "steps",
    "sample": "samples", "samples": "samples",
    "token": "tokens", "tokens": "tokens",
    "flop": "flops", "flops": "flops",
}  # fmt: skip
SECONDS: dict[str, float] = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""By the first letter of the unit of time."""
MULTIPLES: dict[str, float] = {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}

_NUMBER = r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)"
_CLOCK = re.compile(rf"(?:{_NUMBER}\s*((?i:days?|hours?|hrs?|minutes?|mins?|seconds?|secs?)|[dhms])\s*)")
_AMOUNT = re.compile(rf"{_NUMBER}\s*([kKMGBT]?)\s+([A-Za-z]+)|{_NUMBER}([kKMGBT]?)([A-Za-z]{{4,}})")


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be spent: `amount` of `unit` (seconds, epochs, steps, samples, tokens or flops)."""

    amount: float
    unit: Unit

    def __post_init__(self) -> None:
        if self.unit not in set(UNITS.values()):
            raise InputError(f"unknown budget unit {self.unit!r}", expected=", ".join(dict.fromkeys(UNITS.values())))
        if not math.isfinite(self.amount) or self.amount <= 0:
            raise InputError(f"a budget of {self.amount:g} {self.unit} buys nothing", remedy="Give a positive one, like 90s or 3 epochs")

    @classmethod
    def parse(cls, text: str | float | Budget) -> Budget:
        """Read `90s`, `1h30m`, `5 minutes`, `3 epochs`, `500 steps`, `10k samples`, `10M tokens` or `1e17 flops`.

        Raises:
            InputError: the text is no positive amount with a known unit.
        """
        if isinstance(text, Budget):
            return text
        text = str(text).strip()
        parts = _CLOCK.findall(text)
        if parts and not _CLOCK.sub("", text).strip():
            return cls(sum(float(number) * SECONDS[unit[0].lower()] for number, unit in parts), "seconds")
        match = _AMOUNT.fullmatch(text)
        if match:
            number, multiple, unit = match.groups()[:3] if match.group(1) else match.groups()[3:]
            if unit.lower() in UNITS:
                return cls(float(number) * MULTIPLES[multiple], UNITS[unit.lower()])
            near = closest(unit.lower(), [*UNITS, "minutes", "hours", "days"])
            raise InputError(
                f"unknown unit {unit!r} in the budget {text!r}",
                expected=", ".join(dict.fromkeys(UNITS.values())),
                remedy=f"Did you mean {UNITS.get(near, near)}?" if near else None,
            )
        raise InputError(f"can't read the budget {text!r}", expected="an amount with a unit, like 90s, 2h, 3 epochs or 500 steps")

    @property
    def seconds(self) -> float | None:
        """The amount if the unit is seconds, else None."""
        return self.amount if self.unit == "seconds" else None

    def __str__(self) -> str:
        short = f"{self.amount:.15g}"
        amount = short if float(short) == self.amount else repr(self.amount)
        return f"{amount}s" if self.unit == "seconds" else f"{amount} {self.unit}"


def _parse_budget(value: Any) -> Any:
    return Budget.parse(value) if isinstance(value, str | int | float | Budget) else value


BudgetField = Annotated[
    Budget,
    BeforeValidator(_parse_budget),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["90s", "2h", "3 epochs", "1e17 flops"]}),
]
"""A `Budget` as a recipe holds it: written as text, read with `Budget.parse`."""


def format_count(number: float) -> str:
    """A count in at most four characters and a multiple: 812, 74k, 1.2M, 3.4T."""
    for limit, multiple in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * limit:
            scaled = number / limit
            return f"{scaled:.1f}{multiple}" if abs(scaled) < 9.95 else f"{scaled:.0f}{multiple}"
    return f"{number:.0f}"


def format_bytes(number: float) -> str:
    """A size in decimal units: 312 kB, 1.5 MB."""
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= 0.9995 * limit:
            return f"{number / limit:.1f} {unit}" if number < 9.95 * limit else f"{number / limit:.0f} {unit}"
    return f"{number:.0f} B"


def parse_bytes(text: str) -> float:
    """Read a size in decimal or binary units: `16GB`, `500 MB`, `24GiB`.

    Raises:
        InputError: the text is none.
    """
    match = re.fullmatch(rf"{_NUMBER}\s*([kKMGT]?)(i?)B?", text.strip())
    if match is None or not 0 < float(match.group(1)) < math.inf:
        raise InputError(f"can't read the size {text!r}", expected="a positive number with a unit, like 16GB or 500MB")
    number, multiple, binary = match.groups()
    power = " kMGT".index(multiple.replace("K", "k") or " ")
    return float(number) * (1024 if binary else 1000) ** power


def format_duration(seconds: float) -> str:
    """A duration as people say it: 0.4 s, 41 s, 2 min 05 s, 3 h 20 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


__all__ = ["Budget", "BudgetField", "format_bytes", "format_count", "format_duration"]

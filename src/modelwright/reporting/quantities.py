"""Quantities as people read them: with their unit, and with as many digits as they deserve."""

from __future__ import annotations

import math

from modelwright.core.units import format_bytes, format_count, format_duration
from modelwright.metrics.estimate import PROPORTIONS, Estimate, label


def metric_of(quantity: str) -> str:
    """The metric that a ledger's quantity, such as `test accuracy`, is about."""
    return quantity.rpartition(" ")[2]


def quantity_name(quantity: str) -> str:
    """A ledger's quantity as people call it."""
    split, blank, metric = quantity.rpartition(" ")
    return f"{split}{blank}{label(metric)}"


def quantity_text(quantity: str, unit: str, value: float) -> str:
    """A value of the ledger with its unit."""
    if unit == "s":
        return f"{1000 * value:.3g} ms" if value < 1 else format_duration(value)
    if unit == "B":
        return format_bytes(value)
    if metric_of(quantity) in PROPORTIONS:
        return f"{100 * value:.1f} %"
    if value >= 1000 and float(value).is_integer():
        return format_count(value)
    return f"{value:.4g}"


def metric_text(metric: str, value: float) -> str:
    """A metric without interval."""
    return f"{100 * value:.1f} %" if metric in PROPORTIONS else f"{value:.4g}"


def bounds_text(metric: str, estimate: Estimate) -> str:
    """The interval alone: `95.2 to 99.4 %`."""
    if metric in PROPORTIONS:
        return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f} %"
    decimals = max(0, math.ceil(0.3 - math.log10(estimate.high - estimate.low))) if estimate.high > estimate.low else 3
    return f"{estimate.low:,.{min(decimals, 6)}f} to {estimate.high:,.{min(decimals, 6)}f}"


def seconds_text(seconds: float) -> str:
    """A short time: microseconds, milliseconds, or as a duration."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} µs"
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else format_duration(seconds)


def p_text(p_value: float) -> str:
    """A p-value as it deserves to be read."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}" if p_value < 0.1 else f"{p_value:.2f}"


def several(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun: `1 example`, `1,437 examples`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def flops_text(flops: float) -> str:
    """A number of floating-point operations: `3.4 TFLOP`."""
    text = format_count(flops)
    return f"{text[:-1]} {text[-1]}FLOP" if text[-1].isalpha() else f"{text} FLOP"

"""Ties: which of many predictors can't be told from the best one, on the same examples.

The best of many looks better than it is, so that each pair is compared example by example and the chance of even one false difference among
all pairs is held at 5 % (`holm` in `significance.py`). All pairs count, and not only those with the best one: which one is best was seen on
these examples too.
"""

from __future__ import annotations

import base64
import math
import zlib

import numpy as np
import torch
from torch import Tensor

from modelwright.evaluation.comparison import mcnemar

LEVEL = 0.05
"""Chance of calling any two different that are not."""


def paired_p_value(first: Tensor, second: Tensor) -> float:
    """How likely so large a difference of two predictors' mean error is by chance alone.

    McNemar's exact test for right or wrong answers. Else the paired t-test, which for errors of forecasts is that of Diebold and Mariano
    (1995), Comparing predictive accuracy, section 1.1.

    Args:
        first: (N,) errors of one on each example.
        second: (N,) those of the other on the same examples.
    """
    difference = first.double() - second.double()
    if all(bool(((errors == 0) | (errors == 1)).all()) for errors in (first, second)):
        return mcnemar(int((difference < 0).sum()), int((difference > 0).sum()))
    n = len(difference)
    if n < 2:
        return 1.0
    spread = float(difference.std()) / math.sqrt(n)
    if spread == 0:
        return 1.0 if float(difference.mean()) == 0 else 0.0
    return _two_sided(float(difference.mean()) / spread, n - 1)


def _two_sided(t: float, freedom: int) -> float:
    """The two-sided p-value of Student's t, by the normal approximation of Wallace (1959), Bounds on normal approximations to Student's."""
    z = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t * t / freedom))
    return math.erfc(z / math.sqrt(2))


def pack(errors: Tensor, most: int = 8192) -> str:
    """(N,) errors as text, so that predictors of several processes can be compared later.

    Args:
        errors: of examples in the order of their split; right or wrong are kept as bits, else as float32.
        most: examples that are kept, evenly spread, the same ones for every predictor.
    """
    if len(errors) > most:
        errors = errors[torch.linspace(0, len(errors) - 1, most).round().long()]
    values = errors.numpy()
    bits = bool(((values == 0) | (values == 1)).all())
    content = np.packbits(values.astype(bool)).tobytes() if bits else values.astype("<f4").tobytes()
    return f"{'b' if bits else 'f'}{len(values)}:{base64.b64encode(zlib.compress(content)).decode()}"


def unpack(text: str) -> Tensor:
    """The (N,) errors, float64, that `pack` made text of."""
    head, _, body = text.partition(":")
    content, number = zlib.decompress(base64.b64decode(body)), int(head[1:])
    values = np.unpackbits(np.frombuffer(content, np.uint8))[:number] if head[0] == "b" else np.frombuffer(content, "<f4")
    return torch.from_numpy(values.astype(np.float64))

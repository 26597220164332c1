"""Size: how large a model a given compute pays for."""

from __future__ import annotations

import math
from collections.abc import Callable

TOKENS_PER_PARAMETER = 20
"""Tokens that a parameter of a compute-optimal language model is trained on (Hoffmann et al. 2022, table 3)."""


def compute_optimal_parameters(flops: float) -> float:
    """Parameters of the language model that is best for `flops` of training.

    A training costs 6 FLOPs a parameter and token (Kaplan et al. 2020, section 2.1), and the best one sees 20 tokens a parameter (Hoffmann et al.
    2022, approach 1), hence N = √(C / 120). Hoffmann et al. count all parameters; to leave out the vocabulary's, as Kaplan et al. do, is a choice
    of this project: in small models these would be most of them.
    """
    return math.sqrt(flops / (6 * TOKENS_PER_PARAMETER))


def nearest_width(size: Callable[[float], int], parameters: float) -> float:
    """The factor of a model's width, a power of the square root of two, at which its size comes near to `parameters`.

    Args:
        size: from a factor to a number of parameters, growing with about the factor's square.
        parameters: what is wanted.
    """
    step = round(math.log2(max(parameters, 1) / size(1)))
    return min((2 ** (near / 2) for near in (step - 1, step, step + 1)), key=lambda factor: abs(math.log(size(factor) / parameters)))

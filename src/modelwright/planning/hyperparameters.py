"""Rules by which hyperparameters follow the batch size and the length of training; pure numbers.

With them goes the parametrization of width and depth (`planning/parametrization.py`).
"""

from __future__ import annotations

HORIZON_EXPONENT = 0.32
"""The best learning rate of a language model falls with its tokens to this power (Bjorck et al. 2024, Scaling Optimal LR Across Token Horizons)."""


def rate_for_batch(rate: float, batch: float, *, adaptive: bool) -> float:
    """The learning rate for a batch `batch` times as large, below the size at which batches stop to help (McCandlish et al. 2018).

    Args:
        rate: of the base.
        batch: factor of the batch size.
        adaptive: steps don't depend on the gradient's size, as Adam's: then like √batch (Malladi et al. 2022, On the SDEs and Scaling Rules for
            Adaptive Gradient Algorithms, definition 5.2); else like the batch (Goyal et al. 2017, section 2.1).
    """
    _check(batch)
    return rate * (batch**0.5 if adaptive else batch)


def rate_for_horizon(rate: float, examples: float, exponent: float = HORIZON_EXPONENT) -> float:
    """The learning rate for a training on `examples` times as many examples, or tokens; Bjorck et al. 2024, measured on language models."""
    _check(examples)
    return rate * examples**-exponent


def decay_for_timescale(decay: float, *, rate: float, steps: float) -> float:
    """The decoupled weight decay that keeps the share of the run over which weights are averaged, 1 / (rate · decay · steps).

    Wang and Aitchison 2024, How to Set AdamW's Weight Decay as You Scale Model and Dataset Size, section 3.

    Args:
        decay: of the base.
        rate: factor of the learning rate.
        steps: factor of the number of steps.
    """
    _check(rate)
    _check(steps)
    return decay / (rate * steps)


def _check(factor: float) -> None:
    assert factor > 0, factor

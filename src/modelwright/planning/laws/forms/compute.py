"""Compute alone: L = E + A/C^γ, along runs whose size and data grow together."""

from __future__ import annotations

import numpy as np

from modelwright.planning.laws.form import Exponent, Form, forms
from modelwright.planning.laws.points import Points

RATIO_SPREAD = 4.0
"""Most that the data of a parameter may differ between runs."""


@forms.register("compute")
class Compute(Form):
    """Henighan et al. 2020, equation 1.1. The prior is that of αβ/(α+β), to which the exponents of size and data combine along the best runs."""

    name = "compute"
    formula = "E + A / compute^gamma"
    needs = ("compute",)
    exponents = (Exponent("gamma", 0.15, 0.5),)
    terms = ("E", "A")

    def suits(self, points: Points) -> bool:
        """Where data and parameters vary apart, equal compute reaches very different losses."""
        return super().suits(points) and ("data" not in points or points.ratio_spread() < RATIO_SPREAD)

    def columns(self, points: Points, exponents: np.ndarray) -> np.ndarray:
        """1, C^-γ."""
        return np.stack([np.ones(len(points)), points["compute"] ** -exponents[0]], axis=1)

    def coefficients(self, parameters: np.ndarray, center: dict[str, float]) -> dict[str, float]:
        """E, A, gamma."""
        (gamma,), (floor, scale) = self.split(parameters)
        return {"E": floor, "A": scale * center["compute"] ** gamma, "gamma": gamma}

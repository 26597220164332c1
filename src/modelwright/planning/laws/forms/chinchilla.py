"""Size and data apart: L = E + A/N^α + B/D^β."""

from __future__ import annotations

import numpy as np

from modelwright.planning.laws.form import ALPHA, BETA, Form, forms
from modelwright.planning.laws.points import Points


@forms.register("chinchilla")
class Chinchilla(Form):
    """Hoffmann et al. 2022, equation 2."""

    name = "chinchilla"
    formula = "E + A / params^alpha + B / data^beta"
    needs = ("params", "data")
    exponents = (ALPHA, BETA)
    terms = ("E", "A", "B")

    def columns(self, points: Points, exponents: np.ndarray) -> np.ndarray:
        """1, N^-α, D^-β."""
        alpha, beta = exponents
        return np.stack([np.ones(len(points)), points["params"] ** -alpha, points["data"] ** -beta], axis=1)

    def coefficients(self, parameters: np.ndarray, center: dict[str, float]) -> dict[str, float]:
        """E, A, alpha, B, beta."""
        (alpha, beta), (floor, size, data) = self.split(parameters)
        return {
            "E": floor,
            "A": size * center["params"] ** alpha,
            "alpha": alpha,
            "B": data * center["data"] ** beta,
            "beta": beta,
        }

"""An error rate that falls from chance to a floor: E + A / (1 + (C/C0)^k)."""

from __future__ import annotations

import numpy as np

from modelwright.planning.laws.form import Exponent, Form, forms
from modelwright.planning.laws.points import Points


@forms.register("sigmoid")
class Sigmoid(Form):
    """A logistic curve in the logarithm of compute, level at both ends, as accuracies are (Owen 2024, section 3)."""

    name = "sigmoid"
    formula = "1 - E - A / (1 + (compute / C0)^k)"
    needs = ("compute",)
    exponents = (Exponent("k", 0.4, 0.7), Exponent("C0", 1.0, 3.0))
    terms = ("E", "A")
    of = ("accuracy",)

    def columns(self, points: Points, exponents: np.ndarray) -> np.ndarray:
        """1, 1 / (1 + (C/C0)^k)."""
        slope, middle = exponents
        return np.stack([np.ones(len(points)), 1 / (1 + (points["compute"] / middle) ** slope)], axis=1)

    def coefficients(self, parameters: np.ndarray, center: dict[str, float]) -> dict[str, float]:
        """E, A, k, C0."""
        (slope, middle), (floor, height) = self.split(parameters)
        return {"E": floor, "A": height, "k": slope, "C0": middle * center["compute"]}

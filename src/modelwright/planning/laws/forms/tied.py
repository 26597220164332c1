"""Size and data with one exponent: L = E + A/N^α + B/D^α."""

from __future__ import annotations

import numpy as np

from modelwright.planning.laws.form import ALPHA, Form, forms
from modelwright.planning.laws.points import Points


@forms.register("tied")
class Tied(Form):
    """Muennighoff et al. 2023, section 3.1, and Gadre et al. 2024, equation 4, which is the same in other coordinates."""

    name = "tied"
    formula = "E + A / params^alpha + B / data^alpha"
    needs = ("params", "data")
    exponents = (ALPHA,)
    terms = ("E", "A", "B")

    def columns(self, points: Points, exponents: np.ndarray) -> np.ndarray:
        """1, N^-α, D^-α."""
        alpha = exponents[0]
        return np.stack([np.ones(len(points)), points["params"] ** -alpha, points["data"] ** -alpha], axis=1)

    def coefficients(self, parameters: np.ndarray, center: dict[str, float]) -> dict[str, float]:
        """E, A, B, alpha."""
        (alpha,), (floor, size, data) = self.split(parameters)
        return {"E": floor, "A": size * center["params"] ** alpha, "B": data * center["data"] ** alpha, "alpha": alpha}

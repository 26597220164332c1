"""Data read several times is worth less each time: L = E + A/N'^α + B/D'^β."""

from __future__ import annotations

import numpy as np

from modelwright.planning.laws.form import ALPHA, BETA, Exponent, Form, forms
from modelwright.planning.laws.points import Points


@forms.register("repeated")
class Repeated(Form):
    """Muennighoff et al. 2023, equations 5 and 6 and appendix A.

    Of U different tokens read D/U times, D' = U + U r (1 - exp(-(D/U - 1)/r)) count; of N parameters, where U tokens could feed only U_N of them,
    N' = U_N + U_N s (1 - exp(-(N/U_N - 1)/s)). The priors of r and s are the paper's values.
    """

    name = "repeated"
    formula = "E + A / params'^alpha + B / data'^beta"
    needs = ("params", "data", "unique")
    exponents = (ALPHA, BETA, Exponent("data_halving", 15.4, 0.7), Exponent("params_halving", 5.3, 0.7))
    terms = ("E", "A", "B")

    @property
    def free(self) -> int:
        """Without the two halvings, which are the paper's where the runs don't tell them."""
        return super().free - 2

    def suits(self, points: Points) -> bool:
        """Where data was read again at all."""
        return super().suits(points) and bool((points["data"] > 1.01 * points["unique"]).any())

    def columns(self, points: Points, exponents: np.ndarray) -> np.ndarray:
        """1, N^-α, D'^-β; parameters count in full here, where the coefficients aren't known yet."""
        alpha, beta, repeats, _ = exponents
        return np.stack([np.ones(len(points)), points["params"] ** -alpha, _worth(points, repeats) ** -beta], axis=1)

    def predict(self, parameters: np.ndarray, points: Points) -> np.ndarray:
        """Values (n,)."""
        (alpha, beta, repeats, excess), (floor, size, data) = self.split(parameters)
        balance = (alpha * size / (beta * data)) ** (1 / (alpha + beta))
        fed = np.minimum(points["params"], balance * (points["unique"] * balance) ** (beta / alpha))
        counted = fed + fed * excess * -np.expm1(-(points["params"] / fed - 1) / excess)
        return floor + size * counted**-alpha + data * _worth(points, repeats) ** -beta

    def coefficients(self, parameters: np.ndarray, center: dict[str, float]) -> dict[str, float]:
        """E, A, alpha, B, beta, data_halving, params_halving."""
        (alpha, beta, repeats, excess), (floor, size, data) = self.split(parameters)
        return {
            "E": floor,
            "A": size * center["params"] ** alpha,
            "alpha": alpha,
            "B": data * center["data"] ** beta,
            "beta": beta,
            "data_halving": repeats,
            "params_halving": excess,
        }


def _worth(points: Points, repeats: float) -> np.ndarray:
    unique = np.minimum(points["unique"], points["data"])
    return unique + unique * repeats * -np.expm1(-(points["data"] / unique - 1) / repeats)

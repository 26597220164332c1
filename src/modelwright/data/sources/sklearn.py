"""The small sets that scikit-learn carries; nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelwright.core.errors import import_extra
from modelwright.data.config import DataConfig
from modelwright.data.examples import Examples, Origins
from modelwright.data.source import sources

DIGITS_MAXIMUM = 16
"""Grey level of white in `digits`."""


@sources.register("sklearn")
class ScikitLearn:
    """Reads the sets that scikit-learn carries, by name."""

    accepts = "the name of a set that scikit-learn carries (digits, iris, wine, breast_cancer, diabetes)"
    names = ("breast_cancer", "diabetes", "digits", "iris", "wine")

    def recognizes(self, argument: str) -> float:
        """Sure of the exact names."""
        return float(argument in self.names)

    def read(self, argument: str, config: DataConfig) -> Examples:
        """Read the set called `argument`.

        Raises:
            InputError: scikit-learn is not installed.
        """
        datasets = import_extra("sklearn.datasets", "scikit-learn", "tables")
        data: Any = getattr(datasets, f"load_{argument}")()
        origins = Origins.within(argument, "row", np.arange(1, len(data.target) + 1))
        if argument == "digits":
            images = np.rint(data.images[:, None] * (255 / DIGITS_MAXIMUM)).astype(np.uint8)
            return Examples({"image": images, "label": _names(data.target, range(10))}, origins, target="label")
        columns = {str(name): np.ascontiguousarray(data.data[:, index]) for index, name in enumerate(data.feature_names)}
        if "target_names" in data:
            target = _names(data.target, data.target_names)
            return Examples({**columns, "class": target}, origins, target="class", types={"class": "category"})
        return Examples({**columns, "target": data.target.astype(np.float64)}, origins, target="target", types={"target": "number"})


def _names(indices: np.ndarray, names: Any) -> np.ndarray:
    return np.array([str(name) for name in names], dtype=object)[indices]

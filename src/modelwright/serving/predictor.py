"""The predictor: a bundle at work, from typed examples to rows that a person or a program can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modelwright.core.schema import Schema
from modelwright.data.config import DataConfig
from modelwright.data.examples import Examples
from modelwright.data.split import Split
from modelwright.serving.bundle import Bundle, load_bundle

BATCH = 1024
BLOCK = 16
"""Batches are filled up to a multiple of this: kernels round differently for few rows and for the last odd ones (PyTorch 2.13 on a CPU; see
docs/decisions.md), and like this a row's prediction is the same to the last bit, with rare exceptions, whatever else is predicted with it."""
LARGE_BLOCK = 4
"""The same for large examples, of which a multiple of 16 would take long."""
LARGE = 16_384
"""Values of an example that is large."""


class Predictor:
    """Predicts with a bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        place = "cuda" if torch.cuda.is_available() else "cpu"
        self._network, self._place = bundle.network.to(place), place

    @classmethod
    def load(cls, path: Path | str) -> Predictor:
        """The predictor of a run folder or a bundle.

        Raises:
            InputError: there is no good bundle there.
        """
        return cls(load_bundle(path))

    @property
    def schema(self) -> Schema:
        """What goes in and comes out."""
        return self._bundle.config.data_schema

    @property
    def data(self) -> DataConfig:
        """How the training data was read."""
        return self._bundle.config.data

    def warm_up(self, rows: int) -> None:
        """Predict for as many examples of nothing, so that the first ones that count are no slower than the others."""
        if self.schema.kind == "image":
            inputs = {"image": torch.zeros(rows, *self.schema.image.shape)}
        else:
            numbers, categories = len(self.schema.numbers), len(self.schema.categories)
            zeros = torch.zeros(rows, numbers)
            inputs = {"numbers": zeros, "missing": zeros.clone(), "categories": torch.zeros(rows, categories, dtype=torch.int64)}
        with torch.inference_mode():
            self._network({name: tensor.to(self._place) for name, tensor in inputs.items()})

    def predict(self, examples: Examples) -> list[dict[str, Any]]:
        """A row for each of the typed examples: `label`, `confidence` and `probabilities`, or `value`."""
        rows: list[dict[str, Any]] = []
        with torch.inference_mode():
            for batch in Split.of(self.schema, examples).batches(BATCH):
                output = self._network(filled(batch.to(self._place).inputs))[: batch.size]
                rows += self._bundle.task.predict(output.float().cpu()).to_rows()
        return rows


def filled(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inputs of B examples, the first of them repeated after the last up to a multiple of the block."""
    size = len(next(iter(inputs.values())))
    values = sum(tensor[:1].numel() for tensor in inputs.values())
    more = -size % (LARGE_BLOCK if values > LARGE else BLOCK)
    if not more:
        return inputs
    return {name: torch.cat((tensor, tensor[:1].expand(more, *tensor.shape[1:]))) for name, tensor in inputs.items()}

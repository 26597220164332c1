"""The predictor: a bundle at work, from typed examples to rows that a person or a program can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from modelwright.core.schema import Schema
from modelwright.data.config import DataConfig
from modelwright.data.examples import Examples
from modelwright.data.split import Split
from modelwright.serving.bundle import Bundle, load_bundle

BATCH = 1024


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

    def predict(self, examples: Examples) -> list[dict[str, Any]]:
        """A row for each of the typed examples: `label`, `confidence` and `probabilities`, or `value`."""
        rows: list[dict[str, Any]] = []
        with torch.inference_mode():
            for batch in Split.of(self.schema, examples).batches(BATCH):
                output = self._network(batch.to(self._place).inputs)
                rows += self._bundle.task.predict(output.float().cpu()).to_rows()
        return rows

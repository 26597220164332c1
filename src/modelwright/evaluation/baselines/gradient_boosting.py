"""The gradient boosting baseline: scikit-learn's histogram-based boosted trees, on tables.

Legend: B examples, N number columns, M category columns, C classes.
"""

from __future__ import annotations

import importlib.util
import os
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from modelwright.core.schema import Schema
from modelwright.evaluation.baseline import BaselineConfig, LabeledBatches, baselines, targets
from modelwright.evaluation.evaluate import PredictFunction
from modelwright.tasks.task import Task

_LARGEST_VOCABULARY = 255
"""scikit-learn's bound on the values of a category; a column of more is given as a number."""
_MOST_ROWS = 500_000
"""More training rows than this are not looked at: the first round must fit into the time."""
_PATIENCE = 30
"""Rounds without a better validation loss, after which boosting stops."""
_ROWS_A_THREAD = 100_000
_ROUND_RESERVE = 1.5
"""A round is begun only if this many times its expected duration is left."""


@baselines.register("gradient_boosting")
class GradientBoostingConfig(BaselineConfig):
    """Boosted trees; rounds are added until the validation loss gets no better, or the time is up."""

    name: Literal["gradient_boosting"] = "gradient_boosting"  # pyright: ignore[reportIncompatibleVariableOverride]
    learning_rate: float = Field(0.1, gt=0, le=1)
    """Share of each tree's correction that is applied."""
    max_iter: int = Field(500, ge=1)
    """Most rounds; a round is one tree, or one for each of three or more classes."""

    def suits(self, schema: Schema) -> bool:
        """Tables, when scikit-learn is installed."""
        return schema.kind == "table" and importlib.util.find_spec("sklearn") is not None

    def fit(
        self, schema: Schema, task: Task, train: LabeledBatches, validation: LabeledBatches, *, seconds: float, seed: int = 0
    ) -> PredictFunction:
        """Boost on `train` until `validation` gets no better; at least one round, and no more than fit into `seconds`."""
        deadline = time.monotonic() + seconds
        columns = _Columns.of(schema)
        x, y = columns.read(train, _MOST_ROWS)
        x_validation, y_validation = columns.read(validation, _MOST_ROWS)
        model = self._model(schema, columns, seed)
        best, best_loss, rounds, chunk = 0, float("inf"), 0, 1
        while rounds < self.max_iter and rounds - best < _PATIENCE:
            began = time.monotonic()
            rounds = min(rounds + chunk, self.max_iter)
            with _threads(len(x)):
                model.set_params(max_iter=rounds).fit(x, y)
                loss = _loss(model, x_validation, y_validation)
            if loss < best_loss:
                best, best_loss = rounds, loss
            now = time.monotonic()
            per_round = (now - began) / chunk
            chunk = min(10, int((deadline - now) / (_ROUND_RESERVE * per_round)))
            if chunk < 1:
                break
        return _predictor(model, best or rounds, task, schema, columns)

    def _model(self, schema: Schema, columns: _Columns, seed: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        kind: Any = HistGradientBoostingClassifier if schema.target.type == "category" else HistGradientBoostingRegressor
        return kind(
            learning_rate=self.learning_rate,
            categorical_features=columns.categorical or None,
            early_stopping=False,
            warm_start=True,
            random_state=seed % 2**32,
        )


@dataclass(frozen=True)
class _Columns:
    """How the encoded inputs become the matrix (B, N + M) that scikit-learn takes: missing values as NaN, categories as codes from 0."""

    numbers: int
    categorical: list[int]

    @classmethod
    def of(cls, schema: Schema) -> _Columns:
        numbers = len(schema.numbers)
        small = [numbers + index for index, column in enumerate(schema.categories) if len(column.values) <= _LARGEST_VOCABULARY]
        return cls(numbers, small)

    def matrix(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """The inputs of B examples as (B, N + M) float32."""
        parts = []
        if "numbers" in inputs:
            numbers = inputs["numbers"].float().cpu()
            missing = inputs.get("missing")
            parts.append(numbers if missing is None else numbers.masked_fill(missing.cpu() > 0, torch.nan))
        if "categories" in inputs:
            codes = inputs["categories"].float().cpu()
            parts.append(torch.where(codes > 0, codes - 1, torch.nan))
        return torch.cat(parts, dim=1).numpy()

    def read(self, split: LabeledBatches, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """At most so many `rows` of a split, evenly spread over it, as a matrix and its targets."""
        x = np.concatenate([self.matrix(batch.inputs) for batch in split.batches(4096)])
        y = targets(split).cpu().numpy()
        stride = -(-len(x) // rows)
        return x[::stride], y[::stride]


def _loss(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    """Mean log loss, or mean squared error."""
    if not hasattr(model, "classes_"):
        return float(np.square(model.predict(x) - y).mean())
    position = np.searchsorted(model.classes_, y).clip(max=len(model.classes_) - 1)
    p = np.where(model.classes_[position] == y, model.predict_proba(x)[np.arange(len(y)), position], 0.0)
    return float(-np.log(p.clip(min=1e-7)).mean())


def _predictor(model: Any, rounds: int, task: Task, schema: Schema, columns: _Columns) -> PredictFunction:
    """The model as it was after that many `rounds`, as a function to the task's output."""

    def predict(inputs: dict[str, Tensor]) -> Tensor:
        x = columns.matrix(inputs)
        with _threads(len(x)):
            stages = model.staged_predict_proba(x) if hasattr(model, "classes_") else model.staged_predict(x)
            predicted = torch.from_numpy(next(islice(stages, rounds - 1, None)))
        if not hasattr(model, "classes_"):
            return task.as_output(predicted.float())
        probabilities = torch.full((len(x), len(schema.classes)), 1e-7, dtype=torch.float64)
        probabilities[:, model.classes_] = predicted.clamp(1e-7, 1)
        return task.as_output(probabilities / probabilities.sum(1, keepdim=True)).float()

    return predict


def _threads(rows: int) -> AbstractContextManager[Any]:
    """One thread for each so many rows: more of them wait for each other, without end where other processes hold the cores."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(max(1, min(os.cpu_count() or 1, rows // _ROWS_A_THREAD)), user_api="openmp")

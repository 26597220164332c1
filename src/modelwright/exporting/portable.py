"""The portable model: preprocessing, network and task in one module, from raw values to what was asked for.

B batch, T time, C channels, H height, W width, N number columns, M category columns, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modelwright.core.schema import Schema
from modelwright.data.encoding import MAX_DEVIATIONS
from modelwright.exporting.subject import Subject

Arrays = dict[str, np.ndarray]
"""Inputs or outputs by name."""


class Portable(nn.Module):
    """From raw values to outputs, with nothing but tensors, so that a graph can hold all of it.

    What goes in and comes out is told by `describe_inputs` and `describe_outputs`.
    """

    factor: Tensor
    offset: Tensor
    mean: Tensor
    scale: Tensor
    flagged: Tensor

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.network, self.task, self.schema = subject.network, subject.task, subject.schema
        if self.schema.kind == "image":
            mean, scale = torch.tensor(self.schema.image.mean), torch.tensor(self.schema.image.scale)
            self.register_buffer("factor", (1 / (255 * scale)).view(-1, 1, 1))
            self.register_buffer("offset", (mean / scale).view(-1, 1, 1))
        elif self.schema.kind == "table":
            numbers = self.schema.numbers
            self.register_buffer("mean", torch.tensor([column.mean[0] for column in numbers], dtype=torch.float64))
            self.register_buffer("scale", torch.tensor([column.scale[0] for column in numbers], dtype=torch.float64))
            self.register_buffer("flagged", torch.tensor([column.has_missing for column in numbers], dtype=torch.float32))

    def forward(
        self, image: Tensor | None = None, tokens: Tensor | None = None, numbers: Tensor | None = None, categories: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Those of the inputs that the schema has -> the outputs by name."""
        if image is not None:
            return self.outputs({"image": image.float() * self.factor - self.offset})
        if tokens is not None:
            return self.outputs({"tokens": tokens})
        given = numbers if numbers is not None else categories
        assert given is not None, "a table has a column"
        none = given.new_zeros(given.shape[0], 0)
        encoded = {"numbers": none.float(), "missing": none.float()} if numbers is None else self._numbers(numbers)
        return self.outputs({**encoded, "categories": none.long() if categories is None else categories})

    def _numbers(self, numbers_BN: Tensor) -> dict[str, Tensor]:
        """As `encode` does it: standardized in float64 and held within bounds; 0, and a flag, where a number is missing."""
        missing_BN = numbers_BN.isnan()
        standard_BN = ((numbers_BN - self.mean) / self.scale).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
        return {
            "numbers": torch.where(missing_BN, torch.zeros_like(standard_BN), standard_BN).float(),
            "missing": missing_BN.float() * self.flagged,
        }

    def outputs(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Encoded inputs -> the outputs by name; the first one is what the network gives."""
        output = self.network(inputs)
        if self.schema.causal:
            return {"logits": output}
        prediction = self.task.predict(output)
        if prediction.probabilities is not None:
            return {"logits": output, "probabilities": prediction.probabilities}
        return {"standardized": output, "value": prediction.value}


def run_module(module: nn.Module, inputs: Arrays) -> Arrays:
    """What a module like `Portable` makes of raw inputs."""
    with torch.inference_mode():
        outputs = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def raw_inputs(schema: Schema, inputs: Mapping[str, Tensor]) -> Arrays:
    """The raw values of a batch's encoded inputs: pixels and tokens exactly, numbers to the precision of float32, missing ones as NaN.

    A number that is missing where the training split has none comes back as the mean, which is encoded alike.
    """
    if schema.kind == "text":
        return {"tokens": inputs["tokens"].numpy()}
    if schema.kind == "image":
        mean, scale = (torch.tensor(values).view(-1, 1, 1) for values in (schema.image.mean, schema.image.scale))
        return {"image": ((inputs["image"] * scale + mean) * 255).round().to(torch.uint8).numpy()}
    arrays: Arrays = {}
    if schema.numbers:
        mean, scale = ([getattr(column, name)[0] for column in schema.numbers] for name in ("mean", "scale"))
        numbers = inputs["numbers"].double().numpy() * np.array(scale) + np.array(mean)
        arrays["numbers"] = np.where(inputs["missing"].numpy() > 0, np.nan, numbers)
    if schema.categories:
        arrays["categories"] = inputs["categories"].numpy()
    return arrays


def example_inputs(schema: Schema, batch: int, length: int | None = None) -> Arrays:
    """Made-up raw inputs of `batch` examples, of `length` tokens if they are texts: what a graph is traced with."""
    if schema.kind == "text":
        return {"tokens": np.zeros((batch, length or schema.text.shape[0]), dtype=np.int64)}
    if schema.kind == "image":
        return {"image": np.zeros((batch, *schema.image.shape), dtype=np.uint8)}
    arrays: Arrays = {}
    if schema.numbers:
        arrays["numbers"] = np.tile(np.array([column.mean[0] for column in schema.numbers]), (batch, 1))
    if schema.categories:
        arrays["categories"] = np.ones((batch, len(schema.categories)), dtype=np.int64)
    return arrays


def describe_inputs(schema: Schema) -> list[dict[str, Any]]:
    """Name, type, shape and meaning of each raw input, ready for JSON; what a category's numbers stand for too."""
    if schema.kind == "text":
        meaning = f"token numbers of tokenizer.json, at most {schema.text.shape[0]:,} of them; a document begins with the separator"
        return [_tensor("tokens", "int64", ["batch", "length"], meaning, vocabulary=schema.text.vocabulary, length=schema.text.shape[0])]
    if schema.kind == "image":
        what = {"inside": "(x / 255 - mean) / scale", "mean": list(schema.image.mean), "scale": list(schema.image.scale)}
        return [_tensor("image", "uint8", ["batch", *schema.image.shape], "pixels 0 to 255, by channel, row and column", **what)]
    described = []
    if schema.numbers:
        columns = [
            {"name": column.name, "mean": column.mean[0], "scale": column.scale[0], "flagged_if_missing": column.has_missing}
            for column in schema.numbers
        ]
        meaning = "the columns' values as they are, NaN where one is missing"
        inside = f"(x - mean) / scale, held within {MAX_DEVIATIONS:g}; 0 and a flag if missing"
        described.append(_tensor("numbers", "float64", ["batch", len(columns)], meaning, inside=inside, columns=columns))
    if schema.categories:
        columns = [{"name": column.name, "values": list(column.values)} for column in schema.categories]
        meaning = "of each column, 1 + the index among its values; 0 for a missing value and for one that isn't among them"
        described.append(_tensor("categories", "int64", ["batch", len(columns)], meaning, columns=columns))
    return described


def describe_outputs(subject: Subject) -> list[dict[str, Any]]:
    """Name, type, shape and meaning of each output, ready for JSON; the labels too."""
    schema, outputs = subject.schema, subject.network.outputs
    if schema.causal:
        return [_tensor("logits", "float32", ["batch", "length", outputs], "scores of the next token after each position")]
    if schema.classes:
        labels = list(schema.classes)
        meaning = "log-odds of the second class" if outputs == 1 else "scores of the classes"
        return [
            _tensor("logits", "float32", ["batch", outputs], meaning),
            _tensor(
                "probabilities",
                "float32",
                ["batch", len(labels)],
                "probabilities of the classes, in the order of the labels",
                labels=labels,
            ),
        ]
    return [
        _tensor("standardized", "float32", ["batch", outputs], "what the network gives"),
        _tensor("value", "float64", ["batch"], f"the predicted {schema.target.name}, in its own unit"),
    ]


def _tensor(name: str, dtype: str, shape: list[Any], meaning: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": shape, "meaning": meaning, **more}

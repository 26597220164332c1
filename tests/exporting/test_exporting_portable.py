"""The portable model: raw values in a graph become what they become in training."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from harness.exports import Some, schemas, subject
from harness.families import SCHEMAS

from modelwright.core.schema import Feature, Schema
from modelwright.data.encoding import encode
from modelwright.data.examples import Examples, Origins
from modelwright.exporting.portable import Portable, describe_inputs, describe_outputs, example_inputs, raw_inputs
from modelwright.models.network import build_network

CATEGORY = Feature(name="class", type="category", values=("a", "b", "c"))
WILD = [0.0, -0.0, 1.0, 1e-300, 5e11, -5e11, 1.7e9, np.nan, np.inf, -np.inf, 1e308]


def examples(columns):
    return Examples(columns, Origins.within("table", "row", np.arange(len(next(iter(columns.values()))))))


def test_numbers_are_encoded_in_the_graph_as_in_training():
    features = [
        Feature(name="plain", type="number", mean=(3.0,), scale=(2.0,)),
        Feature(name="time", type="number", mean=(1.7e9,), scale=(3.0,), has_missing=True),
        Feature(name="tiny", type="number", mean=(1e-8,), scale=(1e-9,), has_missing=True),
    ]
    schema = Schema(inputs=tuple(features), target=CATEGORY)
    columns = {feature.name: np.array(WILD) + feature.mean[0] for feature in features}
    # What is infinite has been made missing by the reader; here it is held within bounds.
    wanted = encode(schema, examples(columns))
    portable = Portable(replace(subject("mlp", "table"), schema=schema))
    found = portable._numbers(torch.from_numpy(np.stack(list(columns.values()), axis=1)))
    assert torch.equal(found["numbers"], wanted["numbers"])
    assert torch.equal(found["missing"], wanted["missing"])


@pytest.mark.parametrize("data", ["image", "table", "number", "text"])
def test_raw_values_come_back_and_give_the_same_outputs(data):
    made = subject("linear" if data != "text" else "rnn", data)
    batch = next(Some(made.schema).batches(9))
    portable = Portable(made).eval()
    with torch.no_grad():
        wanted = portable.outputs(batch.inputs)
        raw = raw_inputs(made.schema, batch.inputs)
        found = portable(**{name: torch.from_numpy(array) for name, array in raw.items()})
    assert list(found) == [output["name"] for output in describe_outputs(made)]
    assert list(raw) == [given["name"] for given in describe_inputs(made.schema)]
    for name, tensor in found.items():
        described = next(output for output in describe_outputs(made) if output["name"] == name)
        assert str(tensor.dtype) == f"torch.{described['dtype']}"
        assert tensor.ndim == len(described["shape"])
        torch.testing.assert_close(tensor, wanted[name], atol=1e-5, rtol=1e-6)
    for given in describe_inputs(made.schema):
        array, made_up = raw[given["name"]], example_inputs(made.schema, 2)[given["name"]]
        assert array.dtype == made_up.dtype == np.dtype(given["dtype"])
        assert array.ndim == made_up.ndim == len(given["shape"])


def test_pixels_come_back_exactly():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8)
    schema = SCHEMAS["grey"]
    encoded = (pixels / 255 - 0.5) / 0.3
    assert np.array_equal(raw_inputs(schema, {"image": encoded})["image"], pixels.numpy())


def test_a_table_of_categories_alone_has_no_numbers():
    made = subject("mlp", "table")
    schema = SCHEMAS["categories"]
    assert [given["name"] for given in describe_inputs(schema)] == ["categories"]
    assert list(example_inputs(schema, 3)) == ["categories"]
    network = build_network(schema, made.family, 3, stem=made.stem).eval()
    outputs = Portable(replace(made, schema=schema, network=network))(categories=torch.ones(2, 2, dtype=torch.int64))
    assert outputs["probabilities"].sum(1).tolist() == pytest.approx([1, 1])


def test_every_schema_is_described_for_json():
    for data in schemas():
        made = subject("lstm" if data == "text" else "mlp", data)
        assert json.loads(json.dumps([*describe_inputs(made.schema), *describe_outputs(made)], allow_nan=False))

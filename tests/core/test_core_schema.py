"""The schema: what goes in and what is asked for; and the batches and features that fit it."""

import pytest
import torch

from modelwright.core.batch import Batch, Features, FeatureSpec
from modelwright.core.schema import Feature, Schema, describe

AGE = Feature(name="age", type="number", mean=(38.0,), scale=(13.0,))
JOB = Feature(name="job", type="category", values=("clerk", "smith"))
PAY = Feature(name="pay", type="number", has_missing=True)
PICTURE = Feature(name="picture", type="image", shape=(1, 28, 28))
DIGIT = Feature(name="digit", type="category", values=tuple("0123456789"))


def test_a_table_has_numbers_and_categories_in_order():
    schema = Schema(inputs=(AGE, JOB, PAY), target=DIGIT)
    assert schema.kind == "table"
    assert schema.numbers == (AGE, PAY)
    assert schema.categories == (JOB,)
    assert schema.classes == tuple("0123456789")
    with pytest.raises(LookupError, match="table"):
        _ = schema.image


def test_an_image_is_the_only_input():
    schema = Schema(inputs=(PICTURE,), target=AGE)
    assert schema.kind == "image"
    assert schema.image == PICTURE
    assert schema.classes == ()


def test_features_are_told_in_a_few_words():
    assert [describe(feature) for feature in (AGE, JOB, PAY, PICTURE, DIGIT)] == [
        "number",
        "binary",
        "number, some missing",
        "image 1x28x28",
        "category of 10 values",
    ]
    assert list(Schema(inputs=(AGE, JOB), target=DIGIT).rows()) == [
        ("input", "age", "number"),
        ("input", "job", "binary"),
        ("target", "digit", "category of 10 values"),
    ]


def test_a_schema_survives_being_written():
    schema = Schema(inputs=(AGE, JOB, PAY), target=DIGIT)
    assert Schema.model_validate_json(schema.model_dump_json()) == schema


def test_a_batch_moves_whole():
    batch = Batch({"numbers": torch.zeros(3, 2), "categories": torch.ones(3, 1, dtype=torch.int64)}, torch.arange(3))
    assert batch.size == 3
    moved = batch.to("meta")
    assert {tensor.device.type for tensor in [*moved.inputs.values(), moved.target] if tensor is not None} == {"meta"}
    assert Batch({"image": torch.zeros(2, 1, 4, 4)}, None).to("cpu").target is None


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (FeatureSpec("vector", 64), "vector 64"),
        (FeatureSpec("sequence", 64, (28,)), "sequence 28x64"),
        (FeatureSpec("grid", 16, (7, 5)), "grid 16x7x5"),
    ],
)
def test_a_feature_spec_is_told_like_a_shape(spec: FeatureSpec, text: str):
    assert str(spec) == text


def test_features_have_no_mask_unless_given():
    assert Features(torch.zeros(1, 2)).mask is None

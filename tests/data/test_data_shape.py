"""Data known by its shape only."""

import pytest
import torch

from modelwright.core.errors import InputError
from modelwright.data.shape import made_up_batch, parse_shape


def test_a_text():
    schema, examples = parse_shape("shape:text,vocabulary=32k,examples=2M", 128)
    assert schema.causal
    assert (schema.text.shape, schema.text.vocabulary, examples) == ((128,), 32_000, 2_000_000)
    batch = made_up_batch(schema, 3, documents=True)
    assert batch.inputs["tokens"].shape == batch.inputs["documents"].shape == (3, 128)
    assert batch.target is not None
    assert int(batch.target.max()) < 32_000


def test_images_and_tables():
    schema, _ = parse_shape("shape:image,channels=1,height=8,width=6,classes=4", 1)
    batch = made_up_batch(schema, 5)
    assert batch.inputs["image"].shape == (5, 1, 8, 6)
    assert batch.target is not None
    assert set(batch.target.tolist()) <= {0, 1, 2, 3}
    schema, _ = parse_shape("shape:table,numbers=3,categories=2,values=7,classes=0", 1)
    batch = made_up_batch(schema, 5)
    assert [batch.inputs[name].shape for name in ("numbers", "missing", "categories")] == [(5, 3), (5, 3), (5, 2)]
    assert batch.target is not None
    assert batch.target.dtype == torch.float32


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("shape:sound", "unknown kind of data 'sound'"),
        ("shape:text,vocabluary=3", "Did you mean vocabulary"),
        ("shape:image,height=tall", "can't read 'tall'"),
        ("shape:image,height=", "can't read ''"),
        ("shape:text,vocabulary=10x", "can't read '10x'"),
        ("shape:text,vocabulary=1e999", "can't read '1e999'"),
        ("shape:text,vocabulary=0", "vocabulary=0; expected at least 1"),
        ("shape:image,classes=1", "classes=1; expected at least 2"),
        ("shape:table,classes=1", "classes=1; expected at least 2"),
        ("shape:text,examples=0", "examples=0"),
        ("shape:table,numbers=0", "a table without columns"),
    ],
)
def test_shapes_that_are_none(text, part):
    with pytest.raises(InputError, match=part):
        parse_shape(text, 64)

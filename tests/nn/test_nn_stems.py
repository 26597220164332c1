"""Stems of images: which pixel goes where, and how big a patch is."""

from __future__ import annotations

import pytest
import torch
from harness.families import image
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.nn.stem import stems
from modelwright.nn.stems.patches import patch_size

C, H, W = 2, 4, 6
X = torch.arange(2.0 * C * H * W).reshape(2, C, H, W)


def give(name: str, x: torch.Tensor = X, **settings: object) -> torch.Tensor:
    stem = stems[name].model_validate(settings).build(image(*x.shape[1:]))
    out = stem({"image": x}).x
    gives = stem.gives
    shape = (gives.width, *gives.size) if gives.kind == "grid" else (*gives.size, gives.width)
    assert out.shape[1:] == shape
    assert not list(stem.parameters())
    return out


def test_grid_and_flat():
    assert give("grid") is X
    assert torch.equal(give("flat"), X.reshape(2, -1))


def test_rows_and_columns():
    rows, columns = give("rows"), give("rows", by="columns")
    for line in range(H):
        assert torch.equal(rows[:, line], X[:, :, line].reshape(2, -1))
    for line in range(W):
        assert torch.equal(columns[:, line], X[:, :, :, line].reshape(2, -1))


def test_rows_of_a_grey_image_are_not_copied():
    x = torch.zeros(2, 1, 5, 4)
    assert give("rows", x).data_ptr() == x.data_ptr()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_patches_are_those_of_unfold(size: int):
    padded = torch.nn.functional.pad(X, (0, -W % size, 0, -H % size))
    assert torch.equal(give("patches", size=size), torch.nn.functional.unfold(padded, size, stride=size).transpose(1, 2))


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(8, 8, 2), (28, 28, 4), (32, 32, 4), (64, 64, 8), (224, 224, 28), (4, 4, 1), (29, 31, 4), (28, 56, 7), (1, 1, 1)],
)
def test_automatic_patch_size(height: int, width: int, size: int):
    assert patch_size(height, width) == size


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300))
def test_automatic_patches_are_never_too_many(height: int, width: int):
    size = patch_size(height, width)
    assert -(-height // size) * -(-width // size) <= 64

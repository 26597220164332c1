"""Batches: gathered right, in an order that is a function of seed and step; and augmentations."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.batch import Batch
from modelwright.core.errors import InputError
from modelwright.core.randomness import generator
from modelwright.core.schema import Feature, Schema
from modelwright.data.augmentation import Augmentation, augmentations
from modelwright.data.augmentations.mixup import Mixup
from modelwright.data.augmentations.rotate import turn
from modelwright.data.examples import Examples, Origins
from modelwright.data.loader import Loader
from modelwright.data.split import Split

CLASSES = ("a", "b", "c")


def image_split(count=20, channels=3, size=(6, 5), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, channels, *size), dtype=np.uint8)
    image = Feature(name="image", type="image", shape=(channels, *size), mean=(0.1, 0.2, 0.3)[:channels], scale=(0.5, 0.6, 0.7)[:channels])
    schema = Schema(inputs=(image,), target=Feature(name="label", type="category", values=CLASSES))
    labels = np.array(CLASSES, dtype=object)[np.arange(count) % 3]
    return Split.of(schema, Examples({"image": pixels, "label": labels}, Origins.within("t", "image", range(count))))


def number_split(count=20):
    number = Feature(name="x", type="number", mean=(0.0,), scale=(1.0,))
    schema = Schema(inputs=(number,), target=Feature(name="y", type="number", mean=(0.0,), scale=(1.0,)))
    return Split.of(schema, Examples({"x": np.arange(count) * 1.0, "y": np.arange(count) * 2.0}, Origins.within("t", "row", range(count))))


def test_gather_normalizes_each_channel():
    split = image_split()
    index = torch.tensor([3, 0, 3])
    batch = split.gather(index)
    raw = split.inputs["image"][index].double() / 255
    mean, scale = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    torch.testing.assert_close(batch.inputs["image"], ((raw - mean) / scale).float())
    assert batch.target.tolist() == [0, 0, 0]


def test_batches_go_through_in_order():
    split = number_split(10)
    batches = list(split.batches(4))
    assert [batch.size for batch in batches] == [4, 4, 2]
    assert torch.cat([batch.inputs["numbers"][:, 0] for batch in batches]).tolist() == list(range(10))


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 5))
def test_an_epoch_is_each_example_once(count, batch_size, seed):
    loader = Loader(number_split(count), batch_size, seed)
    for epoch in range(2):
        steps = range(epoch * loader.steps_per_epoch, (epoch + 1) * loader.steps_per_epoch)
        seen = torch.cat([loader.batch(step).inputs["numbers"][:, 0] for step in steps])
        assert sorted(seen.tolist()) == list(range(count))


def test_a_batch_is_a_function_of_seed_and_step():
    split = image_split()
    chain = [part() for _, part in augmentations.items()]
    forward = Loader(split, 8, 7, chain)
    expected = [forward.batch(step) for step in range(7)]
    backward = Loader(split, 8, 7, chain)
    for step in reversed(range(7)):
        batch = backward.batch(step)
        assert torch.equal(batch.inputs["image"], expected[step].inputs["image"])
        assert torch.equal(batch.target, expected[step].target)
    assert not torch.equal(Loader(split, 8, 8).batch(0).inputs["image"], Loader(split, 8, 7).batch(0).inputs["image"])


def test_ranks_share_a_batch():
    split = number_split(21)
    whole = Loader(split, 8, 1)
    ranks = [Loader(split, 8, 1, rank=rank, world_size=3) for rank in range(3)]
    for step in range(6):
        parts = torch.cat([rank.batch(step).inputs["numbers"] for rank in ranks])
        assert sorted(parts.flatten().tolist()) == sorted(whole.batch(step).inputs["numbers"].flatten().tolist())


def test_wrong_loaders():
    with pytest.raises(InputError, match="batch size of 0"):
        Loader(number_split(), 0, 0)
    with pytest.raises(InputError, match="changes images"):
        Loader(number_split(), 4, 0, [augmentations["flip"]()])
    with pytest.raises(InputError, match=r"unknown augmentation 'flop'.*Did you mean flip"):
        augmentations["flop"]


def test_discovers_all_augmentations():
    assert list(augmentations) == ["crop", "erase", "flip", "mixup", "rotate", "shift"]
    assert all(part().name == name for name, part in augmentations.items())


@pytest.mark.parametrize("name", ["crop", "erase", "flip", "rotate", "shift"])
def test_pixels_keep_shape_and_type(name):
    images = torch.full((16, 3, 9, 7), 200, dtype=torch.uint8)
    changed = augmentations[name]().change(images, generator(0, name))
    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    assert (images == 200).all()
    if name != "flip":
        assert changed.min() < 200
    assert changed.max() <= 200


def test_shift_moves_by_whole_pixels_and_fills_with_black():
    images = torch.randint(1, 256, (64, 2, 6, 5), dtype=torch.uint8, generator=generator(0))
    moved = augmentations["shift"](pixels=2).change(images, generator(1))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    seen = set()
    for image, source in zip(moved, padded, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(image, source[:, y : y + 6, x : x + 5])]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 15


def test_crop_mirrors_its_border():
    images = torch.arange(25, dtype=torch.uint8).view(1, 1, 5, 5).repeat(40, 1, 1, 1)
    changed = augmentations["crop"](padding=2, border="mirror").change(images, generator(2))
    reference = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode="reflect")[0, 0]
    windows = {tuple(reference[y : y + 5, x : x + 5].flatten().tolist()) for y in range(5) for x in range(5)}
    assert {tuple(image.flatten().float().tolist()) for image in changed} <= windows


def test_flip_mirrors_some():
    images = torch.arange(4, dtype=torch.uint8).view(1, 1, 1, 4).repeat(200, 1, 1, 1)
    rows = [tuple(row) for row in augmentations["flip"]().change(images, generator(3)).flatten(1).tolist()]
    assert set(rows) == {(0, 1, 2, 3), (3, 2, 1, 0)}
    assert 60 < rows.count((3, 2, 1, 0)) < 140


@pytest.mark.parametrize("size", [(7, 7), (8, 8)])
def test_a_quarter_turn_is_rot90(size):
    images = torch.randint(0, 256, (3, 2, *size), dtype=torch.uint8, generator=generator(4))
    turned = turn(images, torch.full((3,), torch.pi / 2), torch.ones(3), 1.0)
    assert (turned.int() - images.rot90(1, (2, 3)).int()).abs().max() <= 1  # interpolation rounds
    assert torch.equal(turn(images, torch.zeros(3), torch.ones(3), 1.0), images)


def test_a_turn_of_a_wide_image_keeps_lengths():
    images = torch.zeros(1, 1, 21, 41, dtype=torch.uint8)
    images[0, 0, 10, 13:28] = 255
    turned = turn(images, torch.tensor([torch.pi / 2]), torch.ones(1), 21 / 41)
    assert (turned[0, 0, 3:18, 20] > 250).all()
    assert turned.sum() == pytest.approx(15 * 255, rel=0.02)


def test_erase_blackens_about_its_fraction():
    images = torch.full((500, 1, 20, 20), 255, dtype=torch.uint8)
    changed = augmentations["erase"](fraction=0.3, probability=1.0).change(images, generator(5))
    share = (changed == 0).float().mean((1, 2, 3))
    assert share.min() > 0
    assert share.max() <= 0.3
    assert 0.1 < share.mean() < 0.2


def test_mixup_blends_inputs_and_targets_alike():
    inputs = torch.eye(8)
    batch = Mixup(alpha=1.0).mix(Batch({"numbers": inputs}, torch.arange(8)), generator(6), 8)
    torch.testing.assert_close(batch.target, batch.inputs["numbers"])
    torch.testing.assert_close(batch.target.sum(1), torch.ones(8))
    numbers = torch.arange(8.0)
    batch = Mixup(alpha=1.0).mix(Batch({"numbers": numbers[:, None]}, numbers), generator(6), 0)
    torch.testing.assert_close(batch.target, batch.inputs["numbers"][:, 0])
    assert not torch.equal(batch.target, numbers)


def test_mixup_refuses_category_columns():
    color = Feature(name="color", type="category", values=("red",))
    schema = Schema(inputs=(color,), target=Feature(name="y", type="category", values=CLASSES))
    with pytest.raises(InputError, match="can't blend the category column 'color'"):
        Mixup().check(schema)


def test_an_augmentation_from_outside_joins_without_an_edit():
    @augmentations.register("dim")
    class Dim(Augmentation):
        name: str = "dim"

        def change(self, images, generator):
            return images // 2

    try:
        split = image_split()
        dimmed = Loader(split, 20, 0, [augmentations["dim"]()]).batch(0)
        plain = Loader(split, 20, 0).batch(0)
        assert (dimmed.inputs["image"] <= plain.inputs["image"]).all()
    finally:
        del augmentations._parts["dim"]


@given(st.integers(1, 40), st.integers(1, 12))
def test_every_example_comes_once_an_epoch_and_never_alone(examples, batch_size):
    schema = Schema(
        inputs=(Feature(name="x", type="number", mean=(0.0,), scale=(1.0,)),),
        target=Feature(name="y", type="number", mean=(0.0,), scale=(1.0,)),
    )
    inputs = {"numbers": torch.zeros(examples, 1), "missing": torch.zeros(examples, 1)}
    split = Split(schema, inputs, torch.arange(examples).float(), Origins.within("x", "row", range(examples)))
    loader = Loader(split, batch_size, 0)
    batches = [loader.index(step) for step in range(loader.steps_per_epoch)]
    assert sorted(torch.cat(batches).tolist()) == list(range(examples))
    assert all(len(batch) > 1 for batch in batches) or batch_size == 1 or examples == 1

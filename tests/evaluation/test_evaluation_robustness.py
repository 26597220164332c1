"""Perturbations, slices, positions: what they do to inputs, and that targets and other examples are left alone."""

import random as standard_random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from modelwright.core.randomness import generator
from modelwright.core.schema import Feature, Schema
from modelwright.data.examples import Origins
from modelwright.data.split import Split
from modelwright.evaluation.examplewise import Examplewise
from modelwright.evaluation.latency import latency
from modelwright.evaluation.perturbation import perturbations, robustness
from modelwright.evaluation.perturbations.blur import blur
from modelwright.evaluation.perturbations.typos import mistype
from modelwright.evaluation.slices import MOST_COLUMNS, slices
from modelwright.tasks.binary import BinaryConfig


def images(count=40, size=12):
    pixels = torch.randint(0, 256, (count, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    schema = Schema(
        inputs=(Feature(name="image", type="image", shape=(1, size, size), mean=(0.5,), scale=(0.3,)),),
        target=Feature(name="label", type="category", values=("a", "b")),
    )
    return Split(schema, {"image": pixels}, torch.arange(count) % 2, Origins.within("x", "image", np.arange(count)))


def table(count=200):
    random = torch.Generator().manual_seed(0)
    schema = Schema(
        inputs=(
            Feature(name="n", type="number", mean=(10.0,), scale=(2.0,), has_missing=True),
            Feature(name="m", type="number", mean=(0.0,), scale=(1.0,)),
            Feature(name="c", type="category", values=("x", "y")),
        ),
        target=Feature(name="label", type="category", values=("a", "b")),
    )
    numbers, categories = torch.randn(count, 2, generator=random), torch.randint(1, 3, (count, 1), generator=random)
    inputs = {"numbers": numbers, "missing": torch.zeros(count, 2), "categories": categories}
    return Split(schema, inputs, (numbers[:, 0] > 0).long(), Origins.within("x", "line", np.arange(count)))


SPLITS = {"image": images, "table": table}


@pytest.mark.parametrize("name", [name for name in perturbations if perturbations[name].reads != "text"])
def test_a_perturbation_is_repeatable_leaves_the_original_alone_and_grows(name):
    perturbation = perturbations[name]()
    split = SPLITS[perturbation.reads]()
    before = {key: tensor.clone() for key, tensor in split.inputs.items()}
    assert perturbation.suits(split.schema)
    assert list(perturbation.strengths) == sorted(set(perturbation.strengths))
    changes = []
    for strength in (0.0, *perturbation.strengths):
        once, again = (perturbation.perturb(split, strength, generator(3, "x")) for _ in range(2))
        assert all(torch.equal(once.inputs[key], again.inputs[key]) for key in before)
        assert once.inputs.keys() == before.keys()
        assert torch.equal(once.target, split.target)
        assert all(once.inputs[key].dtype == before[key].dtype for key in before)
        changes.append(sum(float((once.inputs[key].double() - before[key].double()).abs().mean()) for key in before))
    assert changes[0] == 0
    assert changes[-1] > 0
    assert all(torch.equal(split.inputs[key], before[key]) for key in before)
    assert changes[1] <= changes[-1]


def test_all_kinds_of_data_have_a_perturbation():
    assert {perturbations[name].reads for name in perturbations} == {"image", "table", "text"}


def test_a_blur_keeps_even_pictures_and_brightness():
    assert torch.allclose(blur(torch.full((2, 3, 9, 7), 40.0), 1.5), torch.full((2, 3, 9, 7), 40.0), atol=1e-4)
    point = torch.zeros(1, 1, 21, 21)
    point[..., 10, 10] = 100
    spread = blur(point, 2.0)
    assert float(spread.sum()) == pytest.approx(100, rel=1e-4)
    assert float(spread.max()) < 10
    assert torch.equal(blur(point, 0), point)
    assert blur(torch.rand(1, 1, 1, 1), 3.0).shape == (1, 1, 1, 1)


def test_missing_values_are_flagged_only_where_training_had_some():
    emptied = perturbations["missing"]().perturb(table(), 0.5, generator(0, "x"))
    assert 0.3 < float(emptied.inputs["missing"][:, 0].mean()) < 0.7
    assert float(emptied.inputs["missing"][:, 1].sum()) == 0
    assert (emptied.inputs["categories"] == 0).any()


def test_typos_are_as_many_as_asked_for():
    text = "whether tis nobler in the mind to suffer " * 50
    assert mistype(text, 0.0, standard_random.Random(0)) == text
    wrong = mistype(text, 0.1, standard_random.Random(0))
    assert wrong != text
    assert set(wrong) <= set(text)
    assert mistype("", 0.5, standard_random.Random(0)) == ""


class Column(nn.Module):
    """Says the sign of the first number."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(4.0))

    def forward(self, inputs):
        return self.factor * inputs["numbers"][:, :1]


class Bright(nn.Module):
    """Says whether a picture's corner is bright."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs):
        return self.factor * (inputs["image"][:, 0, :1, 0].float() - 100)


def test_strengths_that_come_to_the_same_are_judged_once():
    for size, strengths in ((8, [0, 0.05, 0.25]), (40, [0, 0.05, 0.1, 0.15, 0.25])):
        split = images(size=size)
        courses = {course.name: course for course in robustness(Bright(), BinaryConfig().build(split.schema), split, replicates=0)}
        assert [strength for strength, _ in courses["shift"].points] == strengths


def test_robustness_falls_from_the_clean_score():
    split = table()
    courses = robustness(Column(), BinaryConfig().build(split.schema), split, replicates=50)
    assert {course.name for course in courses} == {"missing values", "measurement noise"}
    for course in courses:
        assert course.points[0][0] == 0
        assert course.points[0][1].value == 1.0
        assert course.points[-1][1].value < 1.0
    assert robustness(Column(), BinaryConfig().build(split.schema), split, deadline=0.0) == []


def test_a_course_that_time_cuts_short_is_left_out(monkeypatch):
    split, clock = table(), iter(range(100))
    monkeypatch.setattr("modelwright.evaluation.perturbation.time", SimpleNamespace(monotonic=lambda: next(clock)))
    first = robustness(Column(), BinaryConfig().build(split.schema), split, deadline=7, replicates=0)
    assert [len(course.points) for course in first] == [5]


def test_a_bad_slice_is_found():
    split = table()
    split.target = torch.where(split.inputs["categories"][:, 0] == 2, 1 - split.target, split.target)
    task = BinaryConfig().build(split.schema)
    found = {
        (part.column, part.value): part for part in slices(split.schema, split, Examplewise.of(Column(), task, split), task, replicates=50)
    }
    assert found["c", "y"].estimate.value == 0.0
    assert found["c", "y"].p_value < 0.01
    assert {column for column, _ in found} == {"n", "m", "c"}
    assert sum(part.count for (column, _), part in found.items() if column == "n") == len(split)


def test_a_wide_table_is_cut_by_its_first_columns_as_long_as_there_is_time():
    numbers = tuple(Feature(name=f"n{place}", type="number", mean=(0.0,), scale=(1.0,)) for place in range(60))
    schema = Schema(inputs=numbers, target=Feature(name="label", type="category", values=("a", "b")))
    inputs = {"numbers": torch.randn(100, 60), "missing": torch.zeros(100, 60), "categories": torch.zeros(100, 0, dtype=torch.int64)}
    split = Split(schema, inputs, torch.arange(100) % 2, Origins.within("x", "line", np.arange(100)))
    task = BinaryConfig().build(schema)
    seen = Examplewise.of(Column(), task, split)
    found = slices(schema, split, seen, task, replicates=0)
    assert {part.column for part in found} == {f"n{place}" for place in range(MOST_COLUMNS)}
    assert slices(schema, split, seen, task, replicates=0, deadline=0.0) == []


def test_the_hardest_examples_come_first():
    split = table()
    seen = Examplewise.of(Column(), BinaryConfig().build(split.schema), split)
    hardest = seen.hardest(5)
    assert float(seen.losses[hardest[0]]) == float(seen.losses.max())
    assert sorted(seen.losses[hardest].tolist(), reverse=True) == seen.losses[hardest].tolist()


def test_latency_counts_its_answers():
    found = latency(Column(), {"numbers": torch.zeros(3, 2)}, seconds=0.0)
    assert found.batch == 3
    assert 0 < found.median <= found.slow
    assert found.answers >= 3

"""From a table to a data set: inference, cleaning, fitting, encoding, and the errors on the way."""

import json
import math

import numpy as np
import pytest
import torch

from modelwright.core.errors import InputError
from modelwright.data.cleaning import match_labels
from modelwright.data.config import DataConfig
from modelwright.data.dataset import load
from modelwright.data.encoding import MAX_DEVIATIONS
from modelwright.data.examples import Examples, Origins
from modelwright.data.fitting import bin_edges
from modelwright.data.inference import infer
from modelwright.data.report import write_quarantine

RNG = np.random.default_rng(0)


def rows_of(count=60, seed=0):
    rng = np.random.default_rng(seed)
    return [(f"{rng.normal():.6f}", rng.choice(["red", "green", "blue"]), rng.choice(["no", "yes"])) for _ in range(count)]


def write(path, rows, header=("size", "color", "good")):
    path.write_text("\n".join(",".join(row) for row in ([header] if header else []) + list(rows)) + "\n")
    return str(path)


def loaded(path, seed=0, **settings):
    return load(DataConfig(path=str(path), **settings), seed)


def typing_of(**columns):
    count = len(next(iter(columns.values())))
    arrays = {name: np.array(values, dtype=None if isinstance(values, np.ndarray) else object) for name, values in columns.items()}
    return infer(Examples(arrays, Origins.within("t", "row", range(count))), DataConfig(path="t"))


def test_table_end_to_end(tmp_path):
    rows = rows_of()
    data = loaded(write(tmp_path / "t.csv", rows))
    assert data.report.splits == {"train": 48, "validation": 6, "test": 6}
    assert [(feature.name, feature.type) for feature in data.schema.inputs] == [("size", "number"), ("color", "category")]
    assert data.schema.classes == ("no", "yes")
    train = data.train
    sizes = np.array([float(rows[int(train.origins[i].split()[-1]) - 2][0]) for i in range(len(train))])
    assert train.inputs["numbers"][:, 0].numpy() == pytest.approx((sizes - sizes.mean()) / sizes.std(), abs=1e-5)
    for split in data.splits.values():
        for i in range(len(split)):
            row = rows[int(split.origins[i].split()[-1]) - 2]
            assert data.schema.categories[0].values[split.inputs["categories"][i, 0] - 1] == row[1]
            assert data.schema.classes[split.target[i]] == row[2]


def test_same_seed_same_data(tmp_path):
    path = write(tmp_path / "t.csv", rows_of())
    assert loaded(path, 1).digest() == loaded(path, 1).digest()
    assert loaded(path, 1).digest() != loaded(path, 2).digest()


def test_only_training_rows_are_fitted(tmp_path):
    write(tmp_path / "train.csv", rows_of(40))
    write(tmp_path / "test.csv", [("1000000", "purple", "yes"), ("2", "red", "no")])
    data = loaded(tmp_path)
    assert "purple" not in data.schema.categories[0].values
    assert abs(data.schema.numbers[0].mean[0]) < 10
    assert data.splits["test"].inputs["categories"][:, 0].tolist()[0] == 0


def test_types_of_columns():
    count = 40
    typing = typing_of(
        number=[str(n * 0.5) for n in range(count)],
        code=[f"0{n % 7}" for n in range(count)],
        flag=["true", "false"] * (count // 2),
        day=[f"2024-01-{1 + n % 28:02d}" for n in range(count)],
        mostly=[*(str(n) for n in range(3, count + 2)), "x"],
        text=[f"name {n}" for n in range(count)],
        counter=[str(n) for n in range(count)],
        constant=["a"] * count,
        empty=[None] * count,
        target=["u", "v"] * (count // 2),
    )
    assert typing.inputs == {"number": "number", "code": "category", "flag": "category", "day": "number", "mostly": "number"}
    notes = " | ".join(typing.notes)
    for name in ("text", "counter", "constant", "empty"):
        assert f"{name} is left out" in notes
    assert "day holds dates" in notes
    assert "mostly holds 1 values that are no numbers" in notes


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.arange(60.0) % 10, "category"),
        (np.arange(60.0), "number"),
        (np.arange(60.0) % 3 + 0.25, "number"),
        (np.arange(60.0) % 2 + 0.25, "category"),
        ([str(n % 4) for n in range(60)], "category"),
        ([f"{n / 7:.3f}" for n in range(60)], "number"),
        (["a", "b", "c"] * 20, "category"),
    ],
)
def test_type_of_the_target(values, kind):
    assert typing_of(x=RNG.normal(size=60), target=values).target_type == kind


def test_which_column_is_the_target():
    x = RNG.normal(size=6)
    assert typing_of(Label=["a", "b"] * 3, x=x, z=x).target == "Label"
    assert typing_of(a=x, b=x).target == "b"


def test_unknown_names_and_types(tmp_path):
    path = write(tmp_path / "t.csv", rows_of())
    with pytest.raises(InputError, match=r"unknown target column 'goood'.*Did you mean good"):
        loaded(path, target="goood")
    with pytest.raises(InputError, match=r"unknown column 'colour'.*Did you mean color"):
        loaded(path, types={"colour": "category"})
    with pytest.raises(InputError, match="unknown column 'sice'"):
        loaded(path, ignore=("sice",))
    with pytest.raises(InputError, match="holds no images"):
        loaded(path, types={"color": "image"})
    with pytest.raises(InputError, match="no input column is left"):
        loaded(path, ignore=("size", "color"), target="good")


def test_overrides(tmp_path):
    path = write(tmp_path / "t.csv", [(str(n % 5), color, good) for n, (_, color, good) in enumerate(rows_of())])
    data = loaded(path, types={"size": "category"}, ignore=("color",), drop_duplicates=False)
    assert [(feature.name, feature.values) for feature in data.schema.inputs] == [("size", ("0", "1", "2", "3", "4"))]


def test_missing_targets_and_columns(tmp_path):
    rows = rows_of()
    rows[3] = (rows[3][0], rows[3][1], "?")
    data = loaded(write(tmp_path / "t.csv", rows))
    assert data.report.rejected == {"no target": 1}
    assert data.report.quarantine[0].origin == "t.csv line 5"
    with pytest.raises(InputError, match="the target 'good' has no values"):
        loaded(write(tmp_path / "t.csv", [(*row[:2], "NA") for row in rows]))
    path = write(tmp_path / "t.csv", [(row[0], "", row[2]) for row in rows])
    assert any("color is left out: all values are missing" in note for note in loaded(path).report.notes)
    with pytest.raises(InputError, match="the column 'color' has no values"):
        loaded(path, types={"color": "category"})


def test_nan_and_infinite_numbers(tmp_path):
    rows = [(f"{n * 1.5}", "a" if n % 3 else "b", f"{n * 0.3:.2f}") for n in range(60)]
    rows[2], rows[4], rows[6] = ("inf", *rows[2][1:]), ("nan", *rows[4][1:]), ("1e999", *rows[6][1:])
    rows[8] = (*rows[8][:2], "-inf")
    data = loaded(write(tmp_path / "t.csv", rows))
    assert data.report.infinite == {"size": 2, "good": 1}
    assert data.report.missing == {"size": 3, "good": 1}
    assert data.report.rejected == {"no target": 1}
    assert data.schema.numbers[0].has_missing
    total = sum(float(split.inputs["missing"].sum()) for split in data.splits.values())
    assert total == 3
    for split in data.splits.values():
        assert torch.isfinite(split.inputs["numbers"]).all()
        assert torch.isfinite(split.target).all()
        assert (split.inputs["numbers"][split.inputs["missing"] == 1] == 0).all()


def test_more_classes_than_samples_and_one_class(tmp_path):
    rows = [(size, color, f"name {n}") for n, (size, color, _) in enumerate(rows_of())]
    with pytest.raises(InputError, match=r"60 classes in 60 examples.*--type good=number"):
        loaded(write(tmp_path / "t.csv", rows))
    with pytest.raises(InputError, match="only one class, 'yes'"):
        loaded(write(tmp_path / "t.csv", [(*row[:2], "yes") for row in rows]))
    with pytest.raises(InputError, match="all values of the target 'good' are equal"):
        loaded(write(tmp_path / "t.csv", [(*row[:2], "1") for row in rows]), types={"good": "number"})
    with pytest.raises(InputError, match="only 5 examples are left"):
        loaded(write(tmp_path / "t.csv", rows_of(5)))


def test_labels_never_seen_in_training(tmp_path):
    write(tmp_path / "train.csv", rows_of(40))
    test = [*rows_of(9, seed=5), ("1.5", "red", "maybe")]
    write(tmp_path / "test.csv", test)
    data = loaded(tmp_path)
    assert data.report.rejected == {"unseen label": 1}
    assert "'maybe' of good was never seen" in data.report.quarantine[0].reason
    assert len(data.splits["test"]) == 9
    write(tmp_path / "test.csv", [(*row[:2], "maybe") for row in test])
    with pytest.raises(InputError, match=r"each label in the test split \(maybe\) was never seen in training"):
        loaded(tmp_path)


def test_labels_with_a_full_stop_are_the_same(tmp_path):
    write(tmp_path / "train.csv", rows_of(40))
    write(tmp_path / "test.csv", [(*row[:2], f"{row[2]}.") for row in rows_of(9, seed=5)])
    data = loaded(tmp_path)
    assert len(data.splits["test"]) == 9
    assert "9 labels of good are read without the full stop" in data.report.notes[0]
    labels, count = match_labels(np.array(["a.", "b", None, "c"], dtype=object), {"a", "b"})
    assert (labels.tolist(), count) == (["a", "b", None, "c"], 1)


def test_duplicates_leave_training_and_stay_in_a_given_test(tmp_path):
    train, test = rows_of(60), rows_of(20, seed=5)
    write(tmp_path / "train.csv", [*train, train[7], test[3]])
    write(tmp_path / "test.csv", [*test, test[0]])
    data = loaded(tmp_path)
    assert len(data.splits["test"]) == 21
    assert data.report.duplicates == {"train": 1, "test": 1}
    assert data.report.leaks == {"train in test": 1}
    assert data.report.rejected == {"duplicate": 1, "leak": 1}
    assert [(reject.origin, reject.reason) for reject in data.report.quarantine] == [
        ("train.csv line 62", "exact duplicate of train.csv line 9"),
        ("train.csv line 63", "stands in the test split too, as test.csv line 5"),
    ]
    assert loaded(tmp_path, drop_duplicates=False).report.rejected == {}


def test_coarse_tables_keep_their_repeated_rows(tmp_path):
    rows = [("1" if n % 2 else "2", "a" if n % 3 else "b", "yes" if n % 5 else "no") for n in range(60)]
    report = loaded(write(tmp_path / "t.csv", rows), types={"size": "number"}).report
    assert sum(report.splits.values()) == 60
    assert any("they stay" in note for note in report.notes)
    dropped = load(DataConfig(path=str(tmp_path / "t.csv"), drop_duplicates=False), 0).report
    assert dropped.rejected == {}


def test_conflicts_are_counted_and_kept(tmp_path):
    rows = rows_of()
    rows.append((*rows[0][:2], "no" if rows[0][2] == "yes" else "yes"))
    report = loaded(write(tmp_path / "t.csv", rows)).report
    assert report.conflicts == 2
    assert report.rejected == {}


def test_rare_values_count_as_unknown(tmp_path):
    rng = np.random.default_rng(3)
    often = [(f"{rng.normal():.5f}", "often", good) for _, _, good in rows_of(300)]
    rare = [(f"{rng.normal():.5f}", f"rare {n}", good) for n, (_, _, good) in enumerate(rows_of(150))]
    data = loaded(write(tmp_path / "t.csv", [*often, *rare]))
    assert data.schema.categories[0].values == ("often",)
    assert any("color keeps the 1 values" in note for note in data.report.notes)
    assert set(data.train.inputs["categories"][:, 0].tolist()) == {0, 1}


def test_a_column_of_rare_values_only_is_left_out(tmp_path):
    rows = [(size, f"twice {n // 2}", good) for n, (size, _, good) in enumerate(rows_of(400))]
    data = loaded(write(tmp_path / "t.csv", rows))
    assert [feature.name for feature in data.schema.inputs] == ["size"]
    assert any("color is left out: none of its" in note for note in data.report.notes)


def test_edges_are_increasing_quantiles():
    schema = loaded("diabetes").schema
    for feature in schema.numbers:
        assert 2 <= len(feature.edges) <= 128
        assert (np.diff(feature.edges) > 0).all()
    assert schema.target.type == "number"


def test_edges_reach_the_rare_values_of_a_column_that_is_mostly_zero():
    random = np.random.default_rng(0)
    values = np.where(random.random(10_000) < 0.95, 0.0, random.normal(5, 1, 10_000))
    edges = bin_edges(values)
    assert len(edges) <= 128
    assert (np.diff(edges) > 0).all()
    assert (edges > 3).sum() > 40
    assert bin_edges(np.array([2.0, 1.0, 2.0])).tolist() == [1.0, 2.0]


def test_digits_sizes_and_normalization():
    data = loaded("digits")
    assert data.report.splits == {"train": 1437, "validation": 180, "test": 180}
    batch = data.train.gather(torch.arange(len(data.train)))
    assert batch.inputs["image"].shape == (1437, 1, 8, 8)
    assert batch.inputs["image"].mean().item() == pytest.approx(0, abs=1e-4)
    assert batch.inputs["image"].std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_report_and_quarantine_file(tmp_path):
    rows = rows_of()
    report = loaded(write(tmp_path / "t.csv", [*rows, rows[0], ("1", "2")])).report
    assert report.examples == 62
    assert sum(report.splits.values()) + sum(report.rejected.values()) == report.examples
    json.dumps(report.to_dict(), allow_nan=False)
    write_quarantine(report, tmp_path / "quarantine.jsonl")
    written = [json.loads(line) for line in (tmp_path / "quarantine.jsonl").read_text().splitlines()]
    assert written == [
        {"origin": "t.csv line 63", "reason": "has 2 fields where the others have 3"},
        {"origin": "t.csv line 62", "reason": "exact duplicate of t.csv line 2"},
    ]


def test_huge_numbers_stay_finite(tmp_path):
    rows = [(f"{n}e306", "a", f"{n}e305") for n in range(1, 61)]
    data = loaded(write(tmp_path / "t.csv", rows))
    assert torch.isfinite(data.train.inputs["numbers"]).all()
    assert torch.isfinite(data.train.target).all()


def test_a_class_that_leaves_training_as_leaks_is_not_scored(tmp_path):
    rare = [("7.5", "red", "maybe"), ("8.5", "blue", "maybe")]
    write(tmp_path / "train.csv", [*rows_of(60), *rare])
    write(tmp_path / "test.csv", [*rows_of(9, seed=5), *rare])
    data = loaded(tmp_path)
    assert data.schema.classes == ("no", "yes")
    assert data.report.rejected == {"leak": 2, "unseen label": 2}
    assert data.report.quarantine[-1].reason == "the label 'maybe' of good has no training example that isn't in the other splits too"
    for split in data.splits.values():
        assert (split.target >= 0).all()
    write(tmp_path / "test.csv", rare)
    with pytest.raises(InputError, match=r"each label in the test split \(maybe\) has no training example"):
        loaded(tmp_path)


@pytest.mark.parametrize("size", ["1e300", "-1e300", "3.4e38"])
def test_numbers_far_from_training_are_held_within_bounds(tmp_path, size):
    write(tmp_path / "train.csv", rows_of(40))
    write(tmp_path / "test.csv", [(size, "red", "no"), ("0.5", "red", "yes")])
    numbers = loaded(tmp_path).splits["test"].inputs["numbers"][:, 0]
    assert numbers[0].item() == math.copysign(MAX_DEVIATIONS, float(size))
    assert abs(numbers[1].item()) < 10

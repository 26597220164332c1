"""Examples to predict: the same encoding as in training, and problems told rather than raised."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from modelwright.core.errors import InputError
from modelwright.data.config import DataConfig
from modelwright.data.dataset import load
from modelwright.data.encoding import encode_target
from modelwright.data.prediction import fit_pixels, labeled, read_examples, read_stream
from modelwright.data.split import Split


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    lines = [f"{rng.normal():.5f},{rng.choice(['red', 'blue'])},{rng.choice(['no', 'yes'])}" for _ in range(40)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["size,color,good", *lines]) + "\n")
    config = DataConfig(path=str(path))
    return config, load(config, 0)


def test_training_rows_read_again_are_encoded_alike(table):
    config, data = table
    again = Split.of(data.schema, read_examples(config.path, data.schema, config))
    where = {again.origins[i]: i for i in range(len(again))}
    index = torch.tensor([where[data.train.origins[i]] for i in range(len(data.train))])
    for name, tensor in data.train.inputs.items():
        assert torch.equal(again.inputs[name][index], tensor)
    assert torch.equal(again.target[index], data.train.target)


def test_stream_of_csv_with_and_without_header(table):
    config, data = table
    named = read_stream(io.StringIO("color,size\nred,1.5\nblue,?\n"), data.schema, config)
    plain = read_stream(io.StringIO("1.5,red\n?,blue\n"), data.schema, config)
    for examples in (named, plain):
        assert examples.columns["color"].tolist() == ["red", "blue"]
        assert examples.columns["size"][0] == 1.5
        assert np.isnan(examples.columns["size"][1])
    assert encode_target(data.schema, named) is None


def test_stream_of_json_lines(table):
    config, data = table
    text = (
        '{"size": 1.5, "color": "red"}\n\n{"color": "blue"}\nno json\n[1]\n{"size": [1], "color": "red"}\n{"size": NaN, "color": "pink"}\n'
    )
    examples = read_stream(io.StringIO(text), data.schema, config)
    assert examples.columns["color"].tolist() == ["red", "blue", "pink"]
    assert [reject.origin for reject in examples.rejects] == [f"standard input line {n}" for n in (4, 5, 6)]
    assert "no JSON object" in examples.rejects[1].reason
    assert "never seen in training, taken as unknown ('pink')" in examples.notes[-1]
    with pytest.raises(InputError, match="no line can be read"):
        read_stream(io.StringIO("{oops\n"), data.schema, config)


def test_bad_cells_are_told(table):
    config, data = table
    examples = read_stream(io.StringIO("size,color\nmany,red\ninf,red\n2,red\n"), data.schema, config)
    assert len(examples) == 3
    assert list(examples.notes) == [
        "standard input line 2: size: 'many' is no number, taken as missing",
        "standard input line 3: size: 'inf' is infinite, taken as missing",
    ]


def test_absent_columns_and_empty_streams(table):
    config, data = table
    with pytest.raises(InputError, match=r"lacks the column color.*Is colour the column"):
        read_stream(io.StringIO("size,colour\n1,red\n2,red\n"), data.schema, config)
    with pytest.raises(InputError, match="is empty"):
        read_stream(io.StringIO(" \n"), data.schema, config)
    with pytest.raises(InputError, match="does not exist"):
        read_examples("no-such.csv", data.schema, config)


def test_labeled_sets_aside_what_cannot_be_scored(table):
    config, data = table
    examples = read_stream(io.StringIO("size,color,good\n1,red,yes\n2,red,maybe\n3,red,\n4,red,no.\n"), data.schema, config)
    scored = labeled(examples, data.schema)
    assert encode_target(data.schema, scored).tolist() == [1, 0]
    assert [reject.reason for reject in scored.rejects] == ["the label 'maybe' was never seen in training", "no target"]
    with pytest.raises(InputError, match="no target column 'good'"):
        labeled(read_stream(io.StringIO("size,color\n1,red\n2,blue\n"), data.schema, config), data.schema)
    with pytest.raises(InputError, match="none of the values"):
        labeled(read_stream(io.StringIO("size,color,good\n1,red,maybe\n"), data.schema, config), data.schema)


def test_headerless_tables(tmp_path):
    rng = np.random.default_rng(0)
    lines = [f"{rng.normal():.5f}, {rng.choice(['red', 'blue'])}, {rng.choice(['no', 'yes'])}" for _ in range(40)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    config = DataConfig(path=str(path))
    data = load(config, 0)
    (tmp_path / "new.csv").write_text("1.5, red\n2.5, blue\n")
    examples = read_examples(str(tmp_path / "new.csv"), data.schema, config)
    assert examples.columns["column_2"].tolist() == ["red", "blue"]


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for index in range(10):
            Image.fromarray(rng.integers(0, 256, (6, 5), dtype=np.uint8)).save(tmp_path / "in" / label / f"{index}.png")
    config = DataConfig(path=str(tmp_path / "in"))
    return config, load(config, 0), tmp_path


def test_image_files(images):
    config, data, folder = images
    single = read_examples(str(folder / "in" / "a" / "3.png"), data.schema, config)
    assert "label" not in single.columns
    index = next(i for i in range(20) if i < len(data.train) and data.train.origins[i].endswith("3.png"))
    assert single.columns["image"].shape == (1, 1, 6, 5)
    assert data.train.inputs["image"][index].shape == (1, 6, 5)
    flat = read_examples(str(folder / "in" / "a"), data.schema, config)
    assert len(flat) == 10
    again = Split.of(data.schema, read_examples(config.path, data.schema, config))
    where = {again.origins[i]: i for i in range(len(again))}
    for i in range(len(data.train)):
        assert torch.equal(again.inputs["image"][where[data.train.origins[i]]], data.train.inputs["image"][i])


def test_images_of_another_size_and_color(images):
    config, data, folder = images
    Image.new("RGB", (20, 24), (255, 0, 0)).save(folder / "red.png")
    examples = read_examples(str(folder / "red.png"), data.schema, config)
    assert examples.columns["image"].shape == (1, 1, 6, 5)
    assert examples.columns["image"][0, 0, 0, 0] == 76
    assert any("resized to 6x5" in note for note in examples.notes)
    assert any("3 channels are read as 1" in note for note in examples.notes)
    with pytest.raises(InputError, match="images can't be read as text"):
        read_stream(io.StringIO("a"), data.schema, config)
    with pytest.raises(InputError, match="holds no images"):
        read_examples("iris", data.schema, config)


def test_fit_pixels():
    pixels = np.full((2, 1, 4, 4), 9, dtype=np.uint8)
    wide, notes = fit_pixels(pixels, (3, 8, 8))
    assert wide.shape == (2, 3, 8, 8)
    assert (wide == 9).all()
    assert len(notes) == 2


@pytest.mark.parametrize("text", ["size,color\n1.5,red\n", '{"size": 1.5, "color": "red"}\n'])
def test_a_mark_before_a_stream_is_no_text(table, text):
    config, data = table
    examples = read_stream(io.StringIO("\ufeff" + text), data.schema, config)
    assert {name: column.tolist() for name, column in examples.columns.items()} == {"size": [1.5], "color": ["red"]}


def test_extreme_json_lines(table):
    config, data = table
    lines = [
        f'{{"size": {10**30}, "color": "red"}}',
        f'{{"size": 1{"0" * 400}, "color": "blue"}}',
        f'{{"size": 1{"0" * 5000}, "color": "red"}}',
        f'{{"size": {"[" * 200_000}',
        '{"size": 1e999, "color": "a\u2028b"}',
        '{"size": 12345678901234567, "color": "red"}',
    ]
    examples = read_stream(io.StringIO("\r\n".join(lines)), data.schema, config)
    sizes = examples.columns["size"].tolist()
    assert (sizes[0], sizes[3]) == (1e30, 12345678901234567.0)
    assert np.isnan(sizes[1:3]).all()
    assert examples.columns["color"].tolist() == ["red", "blue", "a\u2028b", "red"]
    assert [(reject.origin, reject.reason) for reject in examples.rejects] == [
        ("standard input line 3", "holds a number of too many digits"),
        ("standard input line 4", "is nested too deep"),
    ]

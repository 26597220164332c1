"""Sources: each form of data, and what is wrong with it when it is wrong."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelwright.core.errors import InputError
from modelwright.data.config import DataConfig
from modelwright.data.dataset import load
from modelwright.data.examples import Examples, Origins
from modelwright.data.source import find_source, sources
from modelwright.data.sources.idx import read_idx

REAL = os.environ.get("MODELWRIGHT_DATA")


def read(path, **settings):
    _, source = find_source(str(path))
    return source.read(str(path), DataConfig(path=str(path), **settings))


def write_idx(path, array, packed=False):
    content = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if packed else content)


def write_images(folder, count, size=(6, 5), mode="RGB", seed=0):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        shape = (*size, 3) if mode == "RGB" else size
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{index:02d}.png")


def test_discovers_all_forms():
    assert list(sources) == ["corpus", "delimited", "idx", "images", "mixture", "npz", "sklearn", "stdlib", "text"]


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [("digits", 1797, 2), ("iris", 150, 5), ("wine", 178, 14), ("breast_cancer", 569, 31), ("diabetes", 442, 11)],
)
def test_sets_of_scikit_learn(name, rows, columns):
    examples = read(name)
    assert (len(examples), len(examples.columns)) == (rows, columns)
    if name == "digits":
        assert examples.columns["image"].shape == (1797, 1, 8, 8)
        assert examples.columns["image"].max() == 255


def test_missing_and_empty_arguments(tmp_path):
    for argument in ("", "  "):
        with pytest.raises(InputError, match="no data is named"):
            find_source(argument)
    with pytest.raises(InputError, match=r"does not exist.*Did you mean digits"):
        find_source("digit")
    with pytest.raises(InputError, match="the folder is empty"):
        find_source(str(tmp_path))
    (tmp_path / "notes.xyz").write_text("words")
    with pytest.raises(InputError, match=r"nothing that can be read; expected .*csv.*IDX"):
        find_source(str(tmp_path))
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(InputError, match="empty"):
        load(DataConfig(path=str(tmp_path / "t.csv")), 0)


def test_a_source_from_outside_joins_without_an_edit():
    class Weather:
        accepts, names = "weather:", ()

        def recognizes(self, argument):
            return argument.startswith("weather:")

        def read(self, argument, config):
            rain = np.arange(40.0) % 7
            return Examples(
                {"rain": rain, "wet": np.where(rain > 3, "yes", "no").astype(object)}, Origins.within(argument, "day", range(40))
            )

    sources.register("weather")(Weather)
    try:
        data = load(DataConfig(path="weather:here", drop_duplicates=False), 0)
        assert data.report.source == "weather"
        assert data.schema.classes == ("no", "yes")
    finally:
        del sources._parts["weather"]


def test_tables_of_a_folder_by_name(tmp_path):
    (tmp_path / "x-train.csv").write_text("1, a\n2, b\n3, a\n")
    with gzip.open(tmp_path / "x-test.csv.gz", "wt") as file:
        file.write("4, a.\n5, b.\n\n")
    (tmp_path / "x.names").write_text("words")
    (tmp_path / "SOURCE.txt").write_text("words")
    examples = read(tmp_path)
    assert examples.split.tolist() == ["train"] * 3 + ["test"] * 2
    assert examples.origins[4] == "x-test.csv.gz line 2"
    (tmp_path / "other.csv").write_text("1, a\n")
    assert "other.csv is left out" in read(tmp_path).notes[0]


def test_tables_of_a_folder_that_are_unclear(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    assert len(read(tmp_path)) == 1
    (tmp_path / "b.csv").write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match="2 tables and none is named train"):
        read(tmp_path)


def test_test_table_without_the_target(tmp_path):
    (tmp_path / "train.csv").write_text("x,won,z\n" + "".join(f"{n},{'yes' if n % 3 else 'no'},{n * n}\n" for n in range(40)))
    (tmp_path / "test.csv").write_text("x,z\n" + "".join(f"{n},{n}\n" for n in range(5)))
    data = load(DataConfig(path=str(tmp_path)), 0)
    assert data.schema.target.name == "won"
    assert any("given test split is left out: its 5 examples have no won" in note for note in data.report.notes)
    assert data.report.splits == {"train": 32, "validation": 4, "test": 4}


def test_tables_of_other_columns(tmp_path):
    (tmp_path / "train.csv").write_text("x,y\n1,2\n")
    (tmp_path / "test.csv").write_text("u,v\n1,2\n")
    with pytest.raises(InputError, match="same columns"):
        read(tmp_path)


def test_idx_folder_and_file(tmp_path):
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 256, (20, 4, 3)), rng.integers(0, 256, (6, 4, 3))
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", train, packed=True)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.arange(20) % 2, packed=True)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", test)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.arange(6) % 2)
    examples = read(tmp_path)
    assert (examples.columns["image"][:20, 0] == train).all()
    assert (examples.columns["image"][20:, 0] == test).all()
    assert examples.split.tolist() == ["train"] * 20 + ["test"] * 6
    assert examples.origins[21] == "t10k-images-idx3-ubyte image 2"
    single = read(tmp_path / "t10k-images-idx3-ubyte")
    assert (len(single), single.split) == (6, None)
    assert single.columns["label"].tolist() == [0, 1] * 3


def test_idx_that_is_damaged(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    write_idx(path, np.zeros((5, 4, 3)))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(4))
    with pytest.raises(InputError, match="4 labels for 5 images"):
        read(tmp_path)
    whole = path.read_bytes()
    for content, message in (
        (whole[:-1], "truncated: 59 values"),
        (whole + b"0", "too long"),
        (whole[:9], "within its header"),
        (b"nonsense", "no IDX file"),
        (whole[:2] + b"\x0d" + whole[3:], "type 0x0d"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_idx(path)
    path.with_name("train-images-idx3-ubyte.gz").write_bytes(gzip.compress(whole)[:-9])
    with pytest.raises(InputError, match="truncated"):
        read_idx(path.with_name("train-images-idx3-ubyte.gz"))


def test_npz_forms(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x_train=images, y_train=np.arange(12)[:, None] % 3, x_test=images[:4], y_test=np.arange(4) % 3)
    examples = read(tmp_path / "a.npz")
    assert examples.columns["image"].shape == (16, 3, 5, 4)
    assert (examples.columns["image"][:12].transpose(0, 2, 3, 1) == images).all()
    assert examples.split.tolist() == ["train"] * 12 + ["test"] * 4
    np.savez(tmp_path / "b.npz", X=rng.normal(size=(9, 2)), y=np.array(["a", "b", "c"] * 3))
    assert list(read(tmp_path / "b.npz").columns) == ["column_1", "column_2", "target"]
    np.savez(tmp_path / "c.npz", height=rng.normal(size=9), good=np.arange(9) > 4)
    assert read(tmp_path / "c.npz").columns["good"].tolist() == ["false"] * 5 + ["true"] * 4
    np.savez(tmp_path / "d.npz", images=rng.random((9, 4, 4)), labels=np.arange(9) % 2)
    assert read(tmp_path / "d.npz").columns["image"].dtype == np.uint8


def test_npz_that_is_wrong(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([{"code": 1}], dtype=object), y=np.zeros(1))
    with pytest.raises(InputError, match="could run code"):
        read(path)
    np.savez(path, x=np.zeros((4, 2)), y=np.zeros(3))
    with pytest.raises(InputError, match="one value for each of x"):
        read(path)
    np.savez(path, x=np.full((4, 2, 2), -3.0), y=np.zeros(4))
    with pytest.raises(InputError, match="pixel values are -3 to -3"):
        read(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="no readable NumPy archive"):
        read(path)


def test_image_folder(tmp_path):
    write_images(tmp_path / "cats", 4)
    write_images(tmp_path / "dogs", 3, seed=1)
    (tmp_path / "README.txt").write_text("words")
    examples = read(tmp_path)
    assert examples.columns["image"].shape == (7, 3, 6, 5)
    assert examples.columns["label"].tolist() == ["cats"] * 4 + ["dogs"] * 3
    assert examples.origins[0] == str(Path("cats") / "00.png")
    assert examples.notes == ("1 files that are no images are left out",)


def test_image_folder_with_given_splits(tmp_path):
    for split, count in (("train", 4), ("valid", 2), ("test", 3)):
        for label in ("a", "b"):
            write_images(tmp_path / split / label, count)
    write_images(tmp_path / "extra" / "a", 1)
    examples = read(tmp_path)
    assert [int((examples.split == split).sum()) for split in ("train", "validation", "test")] == [8, 4, 6]
    assert examples.notes == ("the folder extra is left out: its name speaks of no split",)


def test_images_of_several_sizes_and_modes(tmp_path):
    write_images(tmp_path / "a", 3, mode="L")
    write_images(tmp_path / "b", 1, size=(12, 10), mode="L")
    examples = read(tmp_path)
    assert examples.columns["image"].shape == (4, 1, 6, 5)
    assert "1 of 4 images are resized to 6x5" in examples.notes[0]
    assert read(tmp_path, image_size=(3, 2)).columns["image"].shape == (4, 1, 3, 2)
    black = Image.new("RGBA", (5, 6), (0, 0, 0, 0))
    black.save(tmp_path / "b" / "clear.png")
    Image.new("RGB", (5, 6), (255, 0, 0)).quantize().save(tmp_path / "b" / "palette.gif")
    colored = read(tmp_path)
    where = {colored.origins[index]: image for index, image in enumerate(colored.columns["image"])}
    assert (where[str(Path("b") / "clear.png")] == 255).all()
    assert where[str(Path("b") / "palette.gif")][:, 0, 0].tolist() == [255, 0, 0]


def test_grey_images_saved_as_color_are_grey(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        Image.new("RGB", (3, 3), (7, 7, 7)).save(tmp_path / label / "x.png")
    assert read(tmp_path).columns["image"].shape == (2, 1, 3, 3)


def test_truncated_and_false_images_are_rejected_with_a_reason(tmp_path):
    write_images(tmp_path / "a", 3, size=(40, 40))
    write_images(tmp_path / "b", 3, size=(40, 40), seed=1)
    whole = (tmp_path / "a" / "00.png").read_bytes()
    (tmp_path / "a" / "00.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b" / "00.png").write_text("no image")
    examples = read(tmp_path)
    assert len(examples) == 4
    assert [reject.origin for reject in examples.rejects] == [str(Path("a") / "00.png"), str(Path("b") / "00.png")]
    assert all("can't be read" in reject.reason for reject in examples.rejects)
    for file in tmp_path.rglob("*.png"):
        file.write_text("no image")
    with pytest.raises(InputError, match="none of its 6 images can be read"):
        read(tmp_path)


def test_one_class_and_no_class(tmp_path):
    write_images(tmp_path / "a", 12)
    with pytest.raises(InputError, match="only one class, 'a'"):
        load(DataConfig(path=str(tmp_path)), 0)
    with pytest.raises(InputError, match=r"no classes.* subfolder"):
        load(DataConfig(path=str(tmp_path / "a")), 0)


@pytest.mark.skipif(not REAL, reason="MODELWRIGHT_DATA is not set")
def test_real_adult_keeps_its_whole_test_file():
    data = load(DataConfig(path=f"{REAL}/adult"), 0)
    report = data.report
    assert report.examples == 48_842
    assert report.splits["test"] == 16_281
    assert report.splits["train"] + report.splits["validation"] + sum(report.rejected.values()) == 32_561
    assert data.schema.classes == ("<=50K", ">50K")
    assert report.missing == {"column_2": 2799, "column_7": 2809, "column_14": 857}


@pytest.mark.skipif(not REAL, reason="MODELWRIGHT_DATA is not set")
def test_real_mnist():
    data = load(DataConfig(path=f"{REAL}/mnist"), 0)
    assert data.report.splits == {"train": 54_000, "validation": 6_000, "test": 10_000}
    assert data.schema.image.mean[0] == pytest.approx(0.1307, abs=2e-3)
    assert data.schema.image.scale[0] == pytest.approx(0.3081, abs=2e-3)


def test_a_class_of_images_may_be_called_like_a_split(tmp_path):
    for index, label in enumerate(("car", "plane", "train")):
        write_images(tmp_path / "vehicles" / label, 2, seed=index)
    examples = read(tmp_path / "vehicles")
    assert examples.split is None
    assert examples.columns["label"].tolist() == ["car", "car", "plane", "plane", "train", "train"]
    for split in ("train", "test"):
        write_images(tmp_path / "flat" / split, 2)
    assert read(tmp_path / "flat").split.tolist() == ["test", "test", "train", "train"]


@pytest.mark.parametrize("name", ["x_test", "y_test"])
def test_npz_with_half_a_split(tmp_path, name):
    arrays = {"x_train": np.zeros((4, 2)), "y_train": np.zeros(4), name: np.zeros((4, 2) if name == "x_test" else 4)}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=f"the array {name} has no counterpart"):
        read(tmp_path / "a.npz")

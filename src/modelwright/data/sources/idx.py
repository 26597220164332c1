"""IDX files, as MNIST comes in: a file of images beside a file of labels, for each split; gzipped or not."""

from __future__ import annotations

import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from modelwright.core.errors import InputError
from modelwright.data.config import DataConfig
from modelwright.data.corpus.corpus import is_corpus
from modelwright.data.examples import Examples, Origins
from modelwright.data.files import read_bytes, split_of
from modelwright.data.source import sources

UNSIGNED_BYTE = 0x08
"""The third byte of the magic number: the type of the values."""
IMAGES = re.compile(r"(.*)(images|data)([-._]?)(idx[34])?([-._]?ubyte)?(\.idx)?(\.gz)?", re.IGNORECASE)


def _labels_of(images: Path) -> Path | None:
    """The file of labels beside a file of images, None if there is none."""
    for found, other in (("images", "labels"), ("data", "labels")):
        for rank in ("idx3", "idx4"):
            named = images.name.replace(found, other).replace(rank, "idx1")
            for name in (named, named.removesuffix(".gz"), f"{named}.gz"):
                path = images.with_name(name)
                if path != images and path.is_file():
                    return path
    return None


def _is_images(path: Path) -> bool:
    named = path.is_file() and IMAGES.fullmatch(path.name) is not None and ("idx" in path.name.lower() or "ubyte" in path.name.lower())
    return named or (path.is_file() and path.name.lower().removesuffix(".gz").endswith((".idx3", ".idx3-ubyte", "-idx3-ubyte", ".idx")))


@sources.register("idx")
class Idx:
    """Reads IDX files of unsigned bytes."""

    accepts = "a folder of IDX files as MNIST has (train-images-idx3-ubyte, train-labels-idx1-ubyte, ...; also gzipped)"
    names: tuple[str, ...] = ()

    def recognizes(self, argument: str) -> float:
        """Sure of files named as images in IDX, and of folders that hold some; a corpus has files of that ending too."""
        return 1.0 if self._images(Path(argument)) and not is_corpus(Path(argument)) else 0.0

    def _images(self, path: Path) -> list[Path]:
        if path.is_dir():
            return sorted(file for file in path.iterdir() if _is_images(file))
        return [path] if _is_images(path) else []

    def read(self, argument: str, config: DataConfig) -> Examples:
        """Read each file of images and the labels beside it.

        Raises:
            InputError: a file is truncated or is no IDX file, or images and labels differ in number or size.
        """
        files = self._images(Path(argument)) or [Path(argument)]
        files.sort(key=lambda file: (split_of(file.name) != "train", file.name))
        with ThreadPoolExecutor() as pool:
            parts = list(pool.map(self._read, files))
        shapes = {part.columns["image"].shape[1:]: file for part, file in zip(parts, files, strict=True)}
        if len(shapes) > 1:
            sizes = " and ".join(f"{'x'.join(map(str, shape))} in {file.name}" for shape, file in shapes.items())
            raise InputError(f"images are of several sizes: {sizes}", where=argument)
        together = Examples.concat(parts)
        return together if Path(argument).is_dir() else together.replace(split=None)

    def _read(self, images: Path) -> Examples:
        pixels = read_idx(images)
        if pixels.ndim not in (3, 4):
            raise InputError(f"holds an array of {pixels.ndim} dimensions", where=images, expected="images: count, rows, columns")
        pixels = pixels[:, None] if pixels.ndim == 3 else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        columns: dict[str, np.ndarray] = {"image": pixels}
        labels = _labels_of(images)
        if labels is not None:
            indices = read_idx(labels)
            if indices.shape != (len(pixels),):
                raise InputError(f"holds {len(indices)} labels for {len(pixels)} images of {images.name}", where=labels)
            columns["label"] = indices.astype(np.float64)
        origins = Origins.within(images.name, "image", np.arange(1, len(pixels) + 1))
        split = split_of(images.name)
        return Examples(
            columns, origins, None if split is None else np.full(len(pixels), split, dtype="<U10"), "label", {"label": "category"}
        )


def read_idx(path: Path) -> np.ndarray:
    """The array of unsigned bytes in an IDX file.

    Raises:
        InputError: the magic number is another one, or the file is shorter or longer than its header says.
    """
    content = read_bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0" or not 1 <= content[3] <= 4:
        raise InputError("is no IDX file", where=path, expected="two zero bytes, a type and a number of dimensions at its beginning")
    if content[2] != UNSIGNED_BYTE:
        raise InputError(f"holds values of the type 0x{content[2]:02x}", where=path, expected="unsigned bytes (0x08)")
    rank = content[3]
    if len(content) < 4 + 4 * rank:
        raise InputError("the file ends within its header", where=path, remedy="Copy or download it again")
    shape = struct.unpack_from(f">{rank}I", content, 4)
    size = int(np.prod(shape, dtype=np.float64))
    found = len(content) - 4 - 4 * rank
    if found != size:
        kind = "truncated" if found < size else "too long"
        raise InputError(
            f"the file is {kind}: {found:,} values after the header",
            where=path,
            expected=f"{size:,} ({'x'.join(map(str, shape))})",
            remedy="Copy or download it again",
        )
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)

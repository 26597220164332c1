"""A folder of images by class: `cats/a.png`, or `train/cats/a.png` where the splits are given.

Letters: N images, C channels, H height, W width.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.core.errors import InputError, import_extra
from modelwright.data.config import DataConfig
from modelwright.data.examples import Examples, Origins, Reject
from modelwright.data.source import SPLIT_WORDS, sources

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
MAX_SIDE = 224
"""Pixels of the longer side; larger images are shrunk to it unless a size is set, since all of them are kept in memory."""
START_OF_SCAN = b"\xff\xda"
MOST_SCANS = 100
"""Passes over its pixels that a JPEG from elsewhere may ask for: progressive ones have about ten, and one of 23 bytes takes as long as a large one."""
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "F")


@dataclass(frozen=True, slots=True)
class Found:
    """An image file, and the class and split that its folders speak of."""

    path: Path | io.BytesIO
    """Or its content, where it lies in memory."""
    name: str
    label: str | None = None
    split: str | None = None
    formats: tuple[str, ...] | None = None
    """Those of Pillow that it may be in; None takes any."""


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _images_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if _is_image(path))


def _holds_classes(folder: Path) -> bool:
    return any(_is_image(path) for child in _folders(folder) for path in child.rglob("*"))


@sources.register("images")
class ImageFolder:
    """Reads image files through Pillow."""

    accepts = "a folder of images (.png, .jpg, .bmp, .gif, .webp) with a subfolder for each class, or train and test folders of such"
    names: tuple[str, ...] = ()

    def recognizes(self, argument: str) -> float:
        """Sure of an image file and of subfolders that hold images; half of a folder where images lie themselves."""
        path = Path(argument)
        if not path.is_dir():
            return float(_is_image(path))
        if _holds_classes(path):
            return 0.8
        return 0.5 if any(_is_image(child) for child in path.iterdir()) else 0.0

    def read(self, argument: str, config: DataConfig) -> Examples:
        """Decode all images, at one size and with one number of channels.

        Raises:
            InputError: Pillow is not installed, there are no images, or none of them can be read.
        """
        path = Path(argument)
        found, notes = ([Found(path, path.name)], []) if path.is_file() else find_images(path)
        if not found:
            raise InputError("holds no images", where=argument, expected=self.accepts)
        return _read(found, argument, config.image_size, notes)


def read_image(data: bytes, name: str, size: tuple[int, int], *, most_pixels: int) -> Examples:
    """One image that lies in memory as a file's content, decoded as the file would be.

    Args:
        data: of a PNG, JPEG, BMP, GIF or WebP file.
        name: what to call it.
        size: (height, width) that it is wanted in.
        most_pixels: larger ones are refused before they are decoded.

    Raises:
        InputError: Pillow is not installed, the image can't be read, or it is too large or would take too long.
    """
    image_module, _ = _pillow()
    try:
        with image_module.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except image_module.UnidentifiedImageError:
        raise InputError("is no image that can be read", where=name, expected=", ".join(FORMATS)) from None
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        raise InputError(_reason(error), where=name) from None
    if width * height > most_pixels:
        raise InputError(f"the image has {width * height:,} pixels", where=name, expected=f"{most_pixels:,} at most")
    if data.startswith(b"\xff\xd8") and data.count(START_OF_SCAN) > MOST_SCANS:
        raise InputError("the image has too many scans", where=name, expected=f"a JPEG of {MOST_SCANS} at most")
    return _read([Found(io.BytesIO(data), name, formats=FORMATS)], name, size, [])


def _read(found: list[Found], where: str, wanted: tuple[int, int] | None, notes: list[str]) -> Examples:
    """Decode all images, at one size and with one number of channels."""
    with ThreadPoolExecutor(max_workers=min(8, len(found), (os.cpu_count() or 1) + 1)) as pool:
        headers = list(pool.map(_header, found))
        opened = [header for header in headers if isinstance(header, Header)]
        size, resized = choose_size([header.size for header in opened], wanted)
        grey = all(header.mode in GREY_MODES for header in opened)
        pixels = list(pool.map(lambda file, header: _decode(file, header, size, grey), found, headers))
    rejects = tuple(Reject(file.name, result) for file, result in zip(found, pixels, strict=True) if isinstance(result, str))
    good = [(file, result) for file, result in zip(found, pixels, strict=True) if not isinstance(result, str)]
    if not good:
        reason = rejects[0].reason if len(found) == 1 else f"none of its {len(found)} images can be read: {rejects[0].reason}"
        raise InputError(reason, where=where)
    images = np.stack([result for _, result in good])
    if not grey and all(np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2]) for image in images):
        images = np.ascontiguousarray(images[:, :1])
    return _examples([file for file, _ in good], images, rejects, [*notes, *resized])


def _examples(files: list[Found], images: np.ndarray, rejects: tuple[Reject, ...], notes: list[str]) -> Examples:
    columns: dict[str, np.ndarray] = {"image": images}
    if any(file.label for file in files):
        columns["label"] = np.array([file.label for file in files], dtype=object)
    split = np.array([file.split or "train" for file in files], dtype="<U10") if any(file.split for file in files) else None
    origins = Origins.files([file.name for file in files])
    return Examples(columns, origins, split, "label", {"label": "category"}, rejects, tuple(notes))


def find_images(folder: Path) -> tuple[list[Found], list[str]]:
    """The image files below `folder`, with the class and the split that their folders are named after; and notes on what is left out."""
    children = _folders(folder)
    splits = {child: SPLIT_WORDS[child.name.lower()] for child in children if child.name.lower() in SPLIT_WORDS}
    training = [child for child, split in splits.items() if split == "train"]
    # Beside other classes, a folder of images called train is a class as well.
    if not training or (len(splits) < len(children) and not any(_holds_classes(child) for child in training)):
        splits = {}
    found: list[Found] = []
    for base, split in splits.items() if splits else [(folder, None)]:
        for label in _folders(base):
            found += [Found(path, str(path.relative_to(folder)), label.name, split) for path in _images_below(label)]
        found += [Found(path, str(path.relative_to(folder)), None, split) for path in sorted(base.iterdir()) if _is_image(path)]
    notes = [f"the folder {child.name} is left out: its name speaks of no split" for child in children if splits and child not in splits]
    others = sum(path.is_file() and not path.name.startswith(".") for path in folder.rglob("*")) - len(found)
    if others and not notes:
        notes.append(f"{others:,} files that are no images are left out")
    return found, notes


def choose_size(sizes: list[tuple[int, int]], wanted: tuple[int, int] | None) -> tuple[tuple[int, int], list[str]]:
    """(height, width) for all images, and a note if some are resized: the wanted size, else that of most, else the median of each side."""
    counts = Counter(sizes)
    if wanted is not None:
        size = wanted
    elif not counts:
        size = (1, 1)
    else:
        common, number = counts.most_common(1)[0]
        median = np.median(np.array(sizes), axis=0)
        size = common if number * 2 >= len(sizes) else (int(median[0]), int(median[1]))
        shrink = MAX_SIDE / max(size)
        if shrink < 1:
            size = (max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink)))
    resized = sum(number for found, number in counts.items() if found != size)
    if not resized:
        return size, []
    return size, [f"{resized:,} of {len(sizes):,} images are resized to {size[0]}x{size[1]} (of {len(counts)} sizes)"]


def _pillow() -> tuple[Any, Any]:
    return import_extra("PIL.Image", "pillow", "vision"), import_extra("PIL.ImageOps", "pillow", "vision")


@dataclass(frozen=True, slots=True)
class Header:
    """What an image file says of itself: (height, width) as it is to be seen, and Pillow's mode."""

    size: tuple[int, int]
    mode: str


def _header(file: Found) -> Header | str:
    """The header of an image file, or why it can't be opened."""
    image_module, _ = _pillow()
    try:
        with image_module.open(file.path, formats=file.formats) as image:
            turned = image.getexif().get(0x0112, 1) >= 5
            width, height = image.size[::-1] if turned else image.size
            grey_palette = image.mode == "P" and image.palette is not None and _is_grey(image.getpalette())
            return Header((height, width), "L" if grey_palette else image.mode)
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        return _reason(error)


def _is_grey(palette: list[int] | None) -> bool:
    return palette is not None and palette[0::3] == palette[1::3] == palette[2::3]


def _decode(file: Found, header: Header | str, size: tuple[int, int], grey: bool) -> np.ndarray | str:
    """The pixels of an image file as uint8 (C, H, W), on white where it is transparent; or why it can't be read."""
    if isinstance(header, str):
        return header
    image_module, operations = _pillow()
    try:
        with image_module.open(file.path, formats=file.formats) as opened:
            opened.draft("L" if grey else "RGB", size[::-1])
            image = operations.exif_transpose(opened)
            if image.mode in ("I", "I;16", "I;16B", "F"):
                image = image_module.fromarray(_eight_bits(np.asarray(image)))
            if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = image_module.alpha_composite(image_module.new("RGBA", image.size, "white"), image)
            image = image.convert("L" if grey else "RGB")
            if image.size != size[::-1]:
                image = image.resize(size[::-1], image_module.Resampling.BILINEAR)
            pixels = np.asarray(image)
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        return _reason(error)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey levels of 16 bits (or of the unit interval) as uint8."""
    values = values.astype(np.float64)
    high = values.max(initial=0)
    return np.rint(np.clip(values * (255.0 if high <= 1 else 1.0 if high <= 255 else 255 / 65535), 0, 255)).astype(np.uint8)


def _reason(error: Exception) -> str:
    return f"the image can't be read ({' '.join(str(error).split()) or type(error).__name__})"

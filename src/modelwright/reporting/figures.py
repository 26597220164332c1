"""Figures: pictures by matplotlib as files of their own, drawn without a display."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from modelwright.core.errors import InputError, import_extra

KINDS = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 130


def new_figure(width: float, height: float, extra: str) -> Any:
    """An empty figure.

    Args:
        width: inches.
        height: inches.
        extra: that brings matplotlib with it.

    Raises:
        InputError: matplotlib is not installed.
    """
    return import_extra("matplotlib.figure", "matplotlib", extra).Figure(figsize=(width, height), layout="constrained")


def picture(figure: Any, kind: str) -> bytes:
    """The file of a figure; `kind` is one of `KINDS`."""
    buffer = io.BytesIO()
    metadata = {"Software": None} if kind == ".png" else None
    figure.savefig(buffer, format=kind[1:], dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


def picture_kind(path: Path) -> str:
    """The kind of picture that a file's name asks for.

    Raises:
        InputError: there is no such kind.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise InputError(f"can't draw a picture of the kind {kind or 'of no ending'}", where=path, expected=".png, .svg or .pdf")
    return kind

"""Writing to disk so that nothing is ever half there, and so that a full disk is one clear sentence."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelwright.core.errors import InputError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full, read-only or forbidden disk below `path`, or a folder in a file's place, into an `InputError` with the remedy."""
    remedies = {
        errno.ENOSPC: ("the disk is full", "Free some space, or choose another place with --output"),
        errno.EDQUOT: ("the disk quota is used up", "Free some space, or choose another place with --output"),
        errno.EROFS: ("the file system is read-only", "Choose another place with --output"),
        errno.EACCES: ("writing is not permitted", "Choose another place with --output"),
        errno.EPERM: ("writing is not permitted", "Choose another place with --output"),
        errno.ENOTDIR: ("a file stands where a folder is needed", "Choose another place with --output"),
        errno.EEXIST: ("a file stands where a folder is needed", "Choose another place with --output"),
        errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter one"),
        errno.EISDIR: ("is a folder", "Give the name of a file"),
    }
    try:
        yield
    except OSError as error:
        if error.errno not in remedies:
            raise
        found, remedy = remedies[error.errno]
        raise InputError(found, where=path, remedy=remedy) from None


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file aside, sync it, and move it into place.

    Raises:
        InputError: the disk is full or not writable, or `path` is a folder; what was there before is untouched.
    """
    with disk_errors(path), written_aside(path) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to make a file or a folder at; it is synced and takes the place of `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    made = aside / path.name
    try:
        yield made
        for file in [made, *made.rglob("*")] if made.is_dir() else [made]:
            _sync(file)
        _swap(made, path, aside / "old")
        _sync(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _swap(made: Path, path: Path, old: Path) -> None:
    """Put `made` in the place of `path`. A folder can't be replaced in one step: the old one waits at `old`, and returns if that fails.

    Raises:
        IsADirectoryError: `made` is a file and `path` a folder, which a file never replaces.
    """
    if not (made.is_dir() and path.is_dir()):
        made.rename(path)
        return
    path.rename(old)
    try:
        made.rename(path)
    finally:
        if not path.exists():
            old.rename(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

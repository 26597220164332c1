"""The run folder: everything that a run made lies in it, written so that nothing is ever half there."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from modelwright.core.errors import InputError
from modelwright.core.ledger import Ledger


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full, read-only or forbidden disk below `path` into an `InputError` with the remedy."""
    remedies = {
        errno.ENOSPC: ("the disk is full", "Free some space, or choose another place with --output"),
        errno.EDQUOT: ("the disk quota is used up", "Free some space, or choose another place with --output"),
        errno.EROFS: ("the file system is read-only", "Choose another place with --output"),
        errno.EACCES: ("writing is not permitted", "Choose another place with --output"),
        errno.ENOTDIR: ("a file stands where a folder is needed", "Choose another place with --output"),
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
        InputError: the disk is full or not writable; what was there before is untouched.
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
        if path.is_dir():
            old = aside / "old"
            path.rename(old)
        made.rename(path)
        _sync(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Run:
    """A run folder. `Run.create` makes a new one, `Run.open` takes an existing one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, name: str, output: Path | None = None) -> Run:
        """Make the folder `output`, or `runs/<date>-<name>` with a number if that is taken.

        Raises:
            InputError: `output` exists and is not an empty folder, or can't be made.
        """
        if output is None:
            stem = f"{date.today().isoformat()}-{re.sub(r'[^A-Za-z0-9._]+', '-', name).strip('-')}"
            output = next(p for n in range(1, 10_000) if not (p := Path("runs") / (stem if n == 1 else f"{stem}-{n}")).exists())
        elif output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise InputError(
                "the run folder exists and is not empty",
                where=output,
                remedy="Choose another --output, or go on with that run by --resume",
            )
        with disk_errors(output):
            output.mkdir(parents=True, exist_ok=True)
        return cls(output)

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """The run at `path`.

        Raises:
            InputError: there is no run folder there.
        """
        path = Path(path)
        if not (path / "recipe.yaml").is_file():
            raise InputError(
                "is no run folder" if path.exists() else "does not exist", where=path, expected="a folder made by train or build"
            )
        return cls(path)

    @property
    def recipe(self) -> Path:
        """The resolved, complete recipe."""
        return self.path / "recipe.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON row a log step."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def bundle(self) -> Path:
        """Folder of the bundle, alone enough to predict."""
        return self.path / "model"

    @property
    def evaluation(self) -> Path:
        """What was measured on each split."""
        return self.path / "evaluation.json"

    @property
    def quarantine(self) -> Path:
        """Examples set aside, with the reason."""
        return self.path / "quarantine.jsonl"

    @property
    def log(self) -> Path:
        """What the user was shown."""
        return self.path / "log.txt"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def ledger(self) -> Ledger:
        """Forecasts and measurements."""
        return Ledger(self.path / "ledger.jsonl")

    def write_json(self, path: Path, value: Any) -> None:
        """Write `value` to `path` atomically, as JSON."""
        write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def discard(self) -> None:
        """Remove the folder, after a run that came to nothing."""
        shutil.rmtree(self.path, ignore_errors=True)

"""Exporting: write a model for a target, read it back there, compare it with the original, and only then let it stand."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelwright.core.disk import disk_errors, written_aside
from modelwright.core.errors import InputError
from modelwright.core.version import __version__
from modelwright.data.split import Split
from modelwright.exporting.comparison import Comparison, Latency, compare, time_example
from modelwright.exporting.portable import describe_inputs, describe_outputs
from modelwright.exporting.readme import readme
from modelwright.exporting.subject import Subject
from modelwright.exporting.target import Target, targets

FORMAT = 1
"""Version of `export.json`."""
TOLERANCE = 1e-4
"""Sums in another order differ by some 1e-6 of the largest value in float32; what is wrong differs by far more."""
RECORD, README, TOKENIZER = "export.json", "README.md", "tokenizer.json"


@dataclass(frozen=True, slots=True)
class Export:
    """A model that was written for a target, and proved there.

    Attributes:
        path: its folder.
        target: the target's name.
        comparison: with the original.
        latency: of one example.
        record: what `export.json` holds.
    """

    path: Path
    target: str
    comparison: Comparison
    latency: Latency
    record: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def to_json(self) -> dict[str, Any]:
        """`path`, and what `export.json` holds."""
        return {"path": str(self.path), **self.record}


def check_place(folder: Path) -> None:
    """See that an export may be written to `folder`.

    Raises:
        InputError: something is there.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError("the output folder exists and is not empty", where=folder, remedy="Choose another --output, or remove it")
    if folder.exists() and not folder.is_dir():
        raise InputError("a file stands where the output folder is wanted", where=folder, remedy="Choose another --output")


def export(
    subject: Subject,
    name: str,
    split: Split,
    folder: Path,
    *,
    tolerance: float = TOLERANCE,
    source: dict[str, Any] | None = None,
    report: Callable[[str], None] = lambda stage: None,
) -> Export:
    """Write a model for a target, read it back there, and compare it with the original.

    Args:
        subject: the model.
        name: of the target.
        split: real examples with targets to compare on.
        folder: to make; nothing of it is there before all is done.
        tolerance: the largest difference that is let pass, see `Comparison`.
        source: what else the record says about where the model comes from.
        report: told what begins: `write`, `compare`.

    Raises:
        InputError: there is no such target, it can't hold the model, the folder is taken, or the export differs by more than the tolerance.
    """
    target = targets[name]()
    target.check(subject)
    check_place(folder)
    with disk_errors(folder), _or_no_folder(folder.parent), written_aside(folder) as aside:
        aside.mkdir()
        if subject.schema.kind == "text" and subject.schema.text.tokenizer:
            (aside / TOKENIZER).write_bytes(subject.schema.text.tokenizer.encode())
        report("write")
        target.write(subject, aside)
        report("compare")
        runtime = target.load(subject, aside)
        comparison = compare(subject, runtime, split, tolerance)
        if worst := comparison.exceeding:
            raise InputError(
                f"the export to {name} is refused: its {worst} differ from the model's by {comparison.differences[worst]:.2g}, "
                f"and {tolerance:g} of {max(1.0, comparison.largest[worst]):.3g} is let pass; nothing was written",
                remedy="Export to another target, or raise --tolerance if that is near enough for you",
            )
        latency = time_example(subject, runtime, split)
        record = _record(subject, name, target, comparison, latency, source or {})
        target.annotate(aside, record)
        (aside / README).write_text(readme(subject, target, record, comparison), encoding="utf-8")
        record["files"] = {str(file.relative_to(aside)): _digest(file) for file in sorted(aside.rglob("*")) if file.is_file()}
        (aside / RECORD).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return Export(folder, name, comparison, latency, record)


@contextmanager
def _or_no_folder(folder: Path) -> Iterator[None]:
    """Leave no empty folder where there was none when the block fails."""
    new = not folder.exists()
    try:
        yield
    except BaseException:
        if new:
            with suppress(OSError):
                folder.rmdir()
        raise


def _record(
    subject: Subject, name: str, target: Target, comparison: Comparison, latency: Latency, source: dict[str, Any]
) -> dict[str, Any]:
    """What `export.json` says, but for the files."""
    return {
        "format": FORMAT,
        "target": name,
        "runtime": target.runtime,
        "model": {
            "name": subject.name,
            "family": subject.family.family,
            "stem": subject.stem.name,
            "task": subject.learns.name,
            "parameters": subject.parameters,
            **source,
        },
        "inputs": describe_inputs(subject.schema),
        "outputs": describe_outputs(subject),
        "comparison": comparison.to_json(),
        "latency": {"original_seconds": latency.original, "exported_seconds": latency.exported, "speedup": latency.speedup},
        "versions": {
            "modelwright": __version__,
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in target.packages},
        },
    }


def _digest(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}

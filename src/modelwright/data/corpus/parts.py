"""Parts: the text of some span of the inputs, normalized, judged by the filters and digested, in files that later stages map.

A part is `<n>.text` (the pieces' UTF-8 bytes, one after the other), `<n>.records.npy` (a `RECORD` a piece), `<n>.bands.npy` (N, pieces) and
`<n>.signatures.npy` (pieces, P) where near-duplicates are looked for. The parts of a task lie in one folder, beside `aside.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from modelwright.core.disk import disk_errors, written_aside
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.duplicates import band_keys, digest_of, signatures_of
from modelwright.data.corpus.filters import Document, filters_of
from modelwright.data.corpus.inputs import InputFile, SetAside, Span
from modelwright.data.corpus.normalization import normalize
from modelwright.data.corpus.reading import REPLACEMENT, Piece, read_span

RECORD = np.dtype(
    [
        ("offset", "<i8"),
        ("length", "<i8"),
        ("characters", "<i8"),
        ("digest", "<u8", (2,)),
        ("row", "<i8"),
        ("file", "<i4"),
        ("broken", "<i4"),
        ("verdict", "u1"),
        ("continues", "?"),
    ]
)
"""A piece: where its bytes lie in the part, where it stood in the inputs, and the filter that drops it (its number from 1, or 0)."""
BATCH_BYTES = 1 << 20
"""Text that is compared at once; the arrays that this takes are some fifty times as large."""
MOST_TEXTS_AT_ONCE = 4096
MOST_RECORDS = 1 << 16
"""Pieces of a part: while it is open, each takes some kilobytes, however short it is."""
MOST_ASIDE = 1000
"""Things set aside by one task that are listed; the others are counted."""


@dataclass(frozen=True, slots=True)
class PartTask:
    """Spans to make parts of, in `folder`."""

    folder: Path
    spans: list[Span]
    files: dict[int, InputFile]
    config: CorpusConfig


def make_parts(task: PartTask, progress: Callable[[int], None]) -> None:
    """Make the parts of a task; a folder that is there is finished already.

    Raises:
        InputError: the disk is full or not writable, or a library is missing.
    """
    size = sum(span.bytes for span in task.spans)
    if task.folder.exists():
        progress(size)
        return
    with disk_errors(task.folder), written_aside(task.folder) as folder:
        folder.mkdir()
        with PartWriter(folder, task.config) as writer:
            for span in task.spans:
                file = task.files[span.file]
                told = SpanProgress(span.bytes, progress)
                for found in read_span(span, file, task.config, told.add):
                    if isinstance(found, SetAside):
                        writer.set_aside(found)
                    else:
                        writer.add(found, counts_all=file.encoding is not None)
                told.add(span.bytes)
            writer.close()


class SpanProgress:
    """Tells how much of a span is read, and no more than all of it: bytes at its edges are looked at twice."""

    def __init__(self, size: int, progress: Callable[[int], None]) -> None:
        self._left, self._progress = size, progress

    def add(self, number: int) -> None:
        """So many bytes more were read."""
        number = min(number, self._left)
        self._left -= number
        if number:
            self._progress(number)


class PartWriter:
    """Writes the parts of one task, a new one whenever the last is full."""

    def __init__(self, folder: Path, config: CorpusConfig) -> None:
        self._folder, self._config = folder, config
        self._filters = filters_of(config)
        self._number = 0
        self._file: IO[bytes] | None = None
        self._records: list[tuple[Any, ...]] = []
        self._signatures: list[np.ndarray] = []
        self._batch: list[bytes] = []
        self._waiting = 0
        self._offset = 0
        self._aside: list[SetAside] = []
        self._counts: dict[str, int] = {}

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, piece: Piece, *, counts_all: bool) -> None:
        """Append a piece; `counts_all`: every replacement character in it stands for a broken one."""
        broken = piece.text.count(REPLACEMENT) if counts_all else piece.broken
        text = normalize(piece.text, self._config.normalization)
        content = text.encode()
        verdict = 0
        if not piece.continues:
            document = Document(text, content)
            verdict = next((number for number, rule in enumerate(self._filters, 1) if rule.drops(document)), 0)
        self._compare(b"" if verdict or piece.continues else content)
        if self._file is None:
            self._file = (self._folder / f"{self._number:06d}.text").open("wb")
        self._file.write(content)
        record = (self._offset, len(content), len(text), digest_of(content), piece.row, piece.file, broken, verdict, piece.continues)
        self._records.append(record)
        self._offset += len(content)
        if self._offset >= self._config.part_bytes or len(self._records) >= MOST_RECORDS:
            self._finish()

    def set_aside(self, what: SetAside) -> None:
        """Keep in mind that something could not be read."""
        self._counts[what.reason] = self._counts.get(what.reason, 0) + 1
        if len(self._aside) < MOST_ASIDE:
            self._aside.append(what)

    def _compare(self, content: bytes) -> None:
        """Take a text for comparison with others; an empty one is compared with none."""
        if not self._config.near_duplicates:
            return
        self._batch.append(content)
        self._waiting += len(content)
        if self._waiting >= min(BATCH_BYTES, self._config.piece_bytes) or len(self._batch) >= MOST_TEXTS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._batch:
            self._signatures.append(signatures_of(self._batch, self._config.near_words))
        self._batch, self._waiting = [], 0

    def _finish(self) -> None:
        """Finish the open part."""
        if self._file is None:
            return
        self._file.close()
        stem = self._folder / f"{self._number:06d}"
        np.save(stem.with_suffix(".records.npy"), np.array(self._records, dtype=RECORD))
        if self._config.near_duplicates:
            self._flush()
            signatures = np.concatenate(self._signatures)
            np.save(stem.with_suffix(".signatures.npy"), signatures)
            np.save(stem.with_suffix(".bands.npy"), band_keys(signatures, self._config.near_duplicates))
        self._number, self._file, self._offset = self._number + 1, None, 0
        self._records, self._signatures = [], []

    def close(self) -> None:
        """Finish the last part and write what was set aside."""
        self._finish()
        content = {"counts": self._counts, "listed": [asdict(what) for what in self._aside]}
        (self._folder / "aside.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8", errors="backslashreplace")


def parts_in(folders: Sequence[Path]) -> list[Path]:
    """The parts in the folders of all tasks, in order, as the paths of their texts."""
    return [part for folder in folders for part in sorted(folder.glob("*.text"))]


def beside(part: Path, what: str) -> Path:
    """The file of a part that holds its `records`, `bands` or `signatures`."""
    return part.with_suffix(f".{what}.npy")


def load(path: Path, *, mapped: bool = False) -> np.ndarray:
    """An array that some stage wrote."""
    return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)


def aside_of(folders: Sequence[Path]) -> Iterator[tuple[dict[str, int], list[SetAside]]]:
    """What each task set aside: counts by reason, and the list."""
    for folder in folders:
        content = json.loads((folder / "aside.json").read_text(encoding="utf-8"))
        yield content["counts"], [SetAside(**what) for what in content["listed"]]

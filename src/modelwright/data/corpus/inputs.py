"""Inputs: the files that a preparation reads, what each of them is, and the spans of them that are worked on one at a time."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelwright.core.errors import InputError, closest
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.corpus import is_corpus
from modelwright.data.corpus.streams import Packing, UnreadableError, open_stream, packing_of, parquet_file, reading_errors
from modelwright.data.files import split_of

Kind = Literal["text", "lines", "parquet"]

KINDS: dict[str, Kind] = {".jsonl": "lines", ".ndjson": "lines", ".json": "lines", ".parquet": "parquet", ".pq": "parquet"}
"""By the end of a file's name, packing aside; everything else is plain text."""
SPLIT_NAMES = ("train", "validation", "test")
FEWEST_GIVEN = 0.5
"""Share of the bytes that must lie in files named after splits before the splits count as given."""
HEAD_BYTES = 8192
MOST_FILES_OF_A_TASK = 1000
WITH_NULS = ("utf-16", "utf-32")
"""Encodings whose texts hold bytes of zero; elsewhere they are a mark of binary data."""
BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file to read.

    Attributes:
        path: where it lies.
        name: how it is called in reports: its path below the folder that was named.
        size: bytes on disk.
        modified: time of its last change in nanoseconds.
        kind: how documents stand in it.
        packing: how it is compressed, if it is.
        encoding: of its text; None is UTF-8.
        split: index into `SPLIT_NAMES` that its name speaks of, or -1.
    """

    path: str
    name: str
    size: int
    modified: int
    kind: Kind
    packing: Packing | None = None
    encoding: str | None = None
    split: int = -1

    def origin(self, row: int) -> str:
        """Where a document of this file stands: 0 the whole file, n the line or row n, -n the byte n - 1."""
        if row == 0:
            return self.name
        return f"{self.name} byte {-row - 1}" if row < 0 else f"{self.name} {'row' if self.kind == 'parquet' else 'line'} {row}"


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a file: its bytes (of a Parquet file, its row groups) from `start` up to `stop`; None: to the end."""

    file: int
    start: int = 0
    stop: int | None = None
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class SetAside:
    """Something that could not be read: what, where, why."""

    reason: str
    origin: str
    detail: str


def find_files(inputs: Sequence[Path], left_out: Collection[Path] = ()) -> tuple[list[tuple[Path, str]], int]:
    """All files that the inputs name, each once, with the name it has in reports, and how many hidden files were passed over.

    Files of a folder come in the order of their paths; corpora below it are no text.

    Args:
        inputs: files, folders or globs.
        left_out: folders that are not entered.

    Raises:
        InputError: an input does not exist, or there is no file at all.
    """
    found: dict[Path, str] = {}
    hidden = 0
    passed = {path.resolve() for path in left_out}
    matches = [path for argument in inputs for path in _matches(argument)]
    several = len({path.absolute().parent for path in matches}) > 1
    for path in matches:
        if path.is_dir():
            for below, is_hidden in _walk(path, passed):
                hidden += is_hidden
                if not is_hidden:
                    found.setdefault(below.resolve(), f"{path.resolve().name}/{below.relative_to(path).as_posix()}")
        else:
            folder = path.absolute().parent.name
            tells = several and split_of(folder) and not split_of(path.name)
            found.setdefault(path.resolve(), f"{folder}/{path.name}" if tells else path.name)
    if not found:
        where = ", ".join(map(str, inputs)) or None
        raise InputError("there is no file to read", where=where, expected="text files, JSON lines, Parquet, or folders of them")
    return list(found.items()), hidden


def _matches(argument: Path) -> list[Path]:
    if argument.exists():
        return [argument]
    matched = sorted(glob.glob(str(argument), recursive=True)) if glob.has_magic(str(argument)) else []
    if matched:
        return [Path(match) for match in matched]
    near = closest(argument.name, [path.name for path in argument.parent.iterdir()]) if argument.parent.is_dir() else None
    raise InputError("does not exist", where=argument, remedy=f"Did you mean {argument.parent / near}?" if near else None)


def _walk(folder: Path, passed: Collection[Path]) -> Iterator[tuple[Path, bool]]:
    """All files below a folder in order, each with whether it is hidden; a hidden folder is not entered and counts as one, corpora and those
    that are `passed` don't count.
    """
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            yield entry, True
        elif entry.is_dir() and not entry.is_symlink():
            if not is_corpus(entry) and entry.resolve() not in passed:
                yield from _walk(entry, passed)
        elif entry.is_file():
            yield entry, False


def examine(paths: Sequence[tuple[Path, str]], config: CorpusConfig) -> tuple[list[InputFile], list[SetAside]]:
    """What each file is, and those that are no text at all."""
    files, aside = [], []
    for path, name in paths:
        try:
            with reading_errors():
                file = _examine(path, name, config)
        except UnreadableError as error:
            aside.append(SetAside("unreadable file", name, error.found))
            continue
        if isinstance(file, SetAside):
            aside.append(file)
        else:
            files.append(file)
    return _with_given_splits(files, aside, config)


def _examine(path: Path, name: str, config: CorpusConfig) -> InputFile | SetAside:
    status = path.stat()
    if status.st_size == 0:
        return SetAside("empty file", name, "holds no bytes")
    with path.open("rb") as file:
        packing = packing_of(file.read(4))
    plain = Path(name).with_suffix("") if Path(name).suffix.lower() in (".gz", ".zst") else Path(name)
    kind = KINDS.get(plain.suffix.lower(), "text")
    with open_stream(path, packing) as stream:
        head = stream.read(HEAD_BYTES)
    encoding = BYTE_ORDER_MARKS.get(head[:2], None if config.encoding == "utf-8" else config.encoding)
    if kind == "parquet":
        if head[:4] != b"PAR1":
            return SetAside("unreadable file", name, "is no Parquet file")
    elif b"\0" in head and not (encoding or "").startswith(WITH_NULS):
        return SetAside("binary file", name, "holds binary data")
    elif kind == "lines" and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return SetAside("unreadable file", name, "holds one JSON array; JSON lines are expected, one object a line")
    return InputFile(str(path), name, status.st_size, status.st_mtime_ns, kind, packing, encoding)


def _with_given_splits(files: list[InputFile], aside: list[SetAside], config: CorpusConfig) -> tuple[list[InputFile], list[SetAside]]:
    """The files with the splits that their names speak of, if these are splits indeed: training and another one, with half of the bytes.

    Beside such files, one that is named after no split (a README, a license) is no data.
    """
    # The one folder that all files lie below has its name from elsewhere.
    one = len({Path(file.name).parts[0] for file in files}) == 1
    splits = [_split_named(Path(*Path(file.name).parts[one:]) if "/" in file.name else Path(file.name)) for file in files]
    bytes_given = sum(file.size for file, split in zip(files, splits, strict=True) if split >= 0)
    enough = bytes_given >= FEWEST_GIVEN * sum(file.size for file in files)
    if not (config.given_splits and 0 in splits and {1, 2} & set(splits) and enough):
        return files, aside
    kept = []
    for file, split in zip(files, splits, strict=True):
        if split < 0:
            aside.append(SetAside("no split", file.name, "lies beside files of given splits, and its name speaks of none"))
        else:
            kept.append(InputFile(**{**{key: getattr(file, key) for key in InputFile.__slots__}, "split": split}))
    return kept, aside


def _split_named(path: Path) -> int:
    """The split that a file's name speaks of, or else a folder's on the way to it, or -1."""
    spoken = [split_of(part) for part in reversed(path.parts)]
    return next((SPLIT_NAMES.index(split) for split in spoken if split), -1)


def plan(files: Sequence[InputFile], part_bytes: int) -> list[list[Span]]:
    """Tasks of about `part_bytes` each, in order; they depend on the files alone, never on the number of processes."""
    tasks: list[list[Span]] = []
    task: list[Span] = []
    size = 0
    for number, file in enumerate(files):
        for span in _spans(number, file, part_bytes):
            if task and (size + span.bytes > part_bytes or len(task) >= MOST_FILES_OF_A_TASK):
                tasks.append(task)
                task, size = [], 0
            task.append(span)
            size += span.bytes
    return [*tasks, task] if task else tasks


def _spans(number: int, file: InputFile, part_bytes: int) -> Iterator[Span]:
    if file.packing or file.encoding or file.size <= part_bytes:
        yield Span(number, bytes=file.size)
    elif file.kind == "parquet":
        yield from _row_groups(number, file, part_bytes)
    else:
        for start in range(0, file.size, part_bytes):
            stop = min(start + part_bytes, file.size)
            yield Span(number, start, stop, stop - start)


def _row_groups(number: int, file: InputFile, part_bytes: int) -> Iterator[Span]:
    try:
        with reading_errors(), open(file.path, "rb") as stream:
            metadata = parquet_file(stream).metadata
            sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
    except UnreadableError:
        # Reading it will say what is wrong, and set it aside.
        yield Span(number, bytes=file.size)
        return
    start, size = 0, 0
    for group, bytes_of_group in enumerate(sizes):
        size += bytes_of_group
        if size >= part_bytes or group == len(sizes) - 1:
            yield Span(number, start, group + 1, max(1, file.size * (group + 1 - start) // len(sizes)))
            start, size = group + 1, 0


def common_size(files: Sequence[InputFile]) -> int:
    """Bytes of all files on disk."""
    return sum(file.size for file in files)


def available_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

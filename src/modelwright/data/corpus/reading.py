"""Reading: the documents in a span of a file, streamed; a long one comes in pieces, cut before line ends."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from modelwright.core.errors import missing_extra
from modelwright.data.corpus.config import BLANK_LINE, CorpusConfig
from modelwright.data.corpus.inputs import InputFile, SetAside, Span
from modelwright.data.corpus.streams import UnreadableError, open_stream, parquet_file, reading_errors, seekable

LONGEST_LINE = 1 << 28
"""Bytes of the longest line of JSON that is read: it must fit into memory, with its text, several times."""
ROWS_AT_ONCE = 64
"""Rows of a Parquet file that are in memory at once."""
REPLACEMENT = "\ufffd"
MARK = b"\xef\xbb\xbf"
LINE_END = re.compile(rb"(?<=\S)\r?\n")
BLANK = re.compile(rb"\n[ \t\r]*\n")


@dataclass(frozen=True, slots=True)
class Piece:
    """A document, or a piece of one.

    Attributes:
        text: not normalized.
        file: number of its file.
        row: where in the file it begins, as `InputFile.origin` takes it.
        continues: whether it goes on where the piece before it ended.
        broken: how many broken characters were replaced.
    """

    text: str
    file: int
    row: int
    continues: bool = False
    broken: int = 0


Found = Piece | SetAside
Progress = Callable[[int], None]
"""Is told how many more bytes of the inputs were read."""


def read_span(span: Span, file: InputFile, config: CorpusConfig, told: Progress = lambda number: None) -> Iterator[Found]:
    """Everything in a span of a file: pieces of text in order, and what had to be set aside; `told` is told how many bytes are read.

    What comes before the place where a file turns out to be damaged is kept; the rest is set aside.
    """
    readers = {"text": _read_text, "lines": _read_lines, "parquet": _read_parquet}
    try:
        with reading_errors():
            yield from readers[file.kind](span, file, config, told)
    except UnreadableError as error:
        yield SetAside("unreadable file", file.name, f"{error.found}; what came before is kept")


# Plain text


def _read_text(span: Span, file: InputFile, config: CorpusConfig, told: Progress) -> Iterator[Found]:
    boundary = _boundary(config)
    with open_stream(Path(file.path), file.packing, file.encoding, told) as stream:
        start, stop = _limits(stream, span, config, boundary)
        blocks = _blocks(stream, start, stop, config.piece_bytes)
        if config.document_separator is None:
            yield from _pieces_of_file(blocks, span.file, start, config.piece_bytes)
        else:
            yield from _separated(blocks, span.file, start, config)


Boundary = Callable[[bytes, int], tuple[int, int] | None]
"""Where the first boundary in some bytes, from a place on, begins and ends."""


def _boundary(config: CorpusConfig) -> Boundary:
    if config.document_separator is None:
        return lambda block, start: (found.start(), found.start()) if (found := LINE_END.search(block, start)) else None
    if config.document_separator == BLANK_LINE:
        return lambda block, start: found.span() if (found := BLANK.search(block, start)) else None
    separator = config.document_separator.encode()
    return lambda block, start: (at, at + len(separator)) if (at := block.find(separator, start)) >= 0 else None


def _limits(stream: BinaryIO, span: Span, config: CorpusConfig, boundary: Boundary) -> tuple[int, int | None]:
    """The span moved to boundaries, with the stream at its start. A neighbor that ends here finds the same boundary."""
    start = _next_boundary(stream, span.start, config.piece_bytes, boundary) if span.start else 0
    stop = None if span.stop is None else _next_boundary(stream, span.stop, config.piece_bytes, boundary)
    if span.start or span.stop is not None:
        stream.seek(start)
    return start, stop


def _next_boundary(stream: BinaryIO, place: int, window: int, boundary: Boundary) -> int:
    """The end of the first boundary after `place`, or the end of the file."""
    # A boundary may have begun before the place; which one it is must not depend on how the file was read up to here.
    begin = max(0, place - 1)
    stream.seek(begin)
    block = b""
    while more := stream.read(window):
        kept = block[-1024:]
        begin += len(block) - len(kept)
        block = kept + more
        if found := boundary(block, 0):
            return begin + found[1]
    return begin + len(block)


def _blocks(stream: BinaryIO, start: int, stop: int | None, size: int) -> Iterator[bytes]:
    place = start
    while (stop is None or place < stop) and (block := stream.read(size if stop is None else min(size, stop - place))):
        if place == 0 and block.startswith(MARK):
            yield block[len(MARK) :]
        else:
            yield block
        place += len(block)


def _pieces_of_file(blocks: Iterator[bytes], file: int, start: int, size: int) -> Iterator[Piece]:
    """The pieces of a file that is one document; the first of a later span goes on with the span before."""
    rest, continues = b"", start > 0
    for block in blocks:
        rest += block
        while len(rest) > size:
            cut = cut_before(rest, size)
            yield _piece(rest[:cut], file, 0, continues)
            rest, continues = rest[cut:], True
    if rest:
        yield _piece(rest, file, 0, continues)


def _separated(blocks: Iterator[bytes], file: int, start: int, config: CorpusConfig) -> Iterator[Piece]:
    """The documents between separators; what holds no visible character is no document."""
    boundary, rest, continues, origin = _boundary(config), b"", False, start
    for block in blocks:
        rest += block
        begin = 0
        while found := boundary(rest, begin):
            if continues or rest[begin : found[0]].strip():
                yield _piece(_trim(rest[begin : found[0]], config, continues), file, -(origin + begin) - 1, continues)
            begin, continues = found[1], False
        rest, origin = rest[begin:], origin + begin
        if not continues and config.normalization != "none":
            blank = len(rest) - len(rest.lstrip(b"\r\n"))
            rest, origin = rest[blank:], origin + blank
        while len(rest) > 2 * config.piece_bytes:
            cut = cut_before(rest, config.piece_bytes)
            yield _piece(rest[:cut], file, -origin - 1, continues)
            rest, origin, continues = rest[cut:], origin + cut, True
    if continues or rest.strip():
        yield _piece(_trim(rest, config, continues), file, -origin - 1, continues)


def _trim(content: bytes, config: CorpusConfig, continues: bool) -> bytes:
    """A document, or the end of one, without the line ends that stand between it and its separators."""
    if config.normalization == "none":
        return content
    return content.rstrip(b"\r\n") if continues else content.strip(b"\r\n")


def cut_before(content: bytes, size: int) -> int:
    """A place in 1..size where `content` may be cut: before a line end after a visible character, where no token of words or bytes goes
    across, or else before a blank, or else between two characters.
    """
    for mark in (b"\n", b" "):
        cut = size
        while (cut := content.rfind(mark, 1, cut)) > 0:
            if content[cut - 1 : cut] == b"\r" and cut > 1:
                cut -= 1
            if not content[cut - 1 : cut].isspace():
                return cut
    cut = size
    while cut > max(1, size - 4) and content[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut


def _piece(content: bytes, file: int, row: int, continues: bool = False) -> Piece:
    try:
        return Piece(content.decode(), file, row, continues)
    except UnicodeDecodeError:
        text = content.decode("utf-8", "replace")
        return Piece(text, file, row, continues, text.count(REPLACEMENT) - content.count(REPLACEMENT.encode()))


# Rows


def _read_lines(span: Span, file: InputFile, config: CorpusConfig, told: Progress) -> Iterator[Found]:
    line_end: Boundary = lambda block, start: (at, at + 1) if (at := block.find(b"\n", start)) >= 0 else None  # noqa: E731
    with open_stream(Path(file.path), file.packing, file.encoding, told) as stream:
        place, stop = _limits(stream, span, config, line_end)
        number = 0
        while (stop is None or place < stop) and (line := stream.readline(LONGEST_LINE)):
            number += 1
            row = -place - 1 if span.start else number
            place += len(line)
            if len(line) == LONGEST_LINE:
                yield SetAside("bad row", file.origin(row), f"the line is longer than {LONGEST_LINE:,} bytes")
                while line and not line.endswith(b"\n"):
                    line = stream.readline(LONGEST_LINE)
                    place += len(line)
                continue
            if line.strip():
                yield from _read_line(line.removeprefix(MARK) if number == 1 else line, span.file, row, file, config)


def _read_line(line: bytes, number: int, row: int, file: InputFile, config: CorpusConfig) -> Iterator[Found]:
    try:
        text, broken = line.decode(), 0
    except UnicodeDecodeError:
        text = line.decode("utf-8", "replace")
        broken = text.count(REPLACEMENT) - line.count(REPLACEMENT.encode())
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield SetAside("bad row", file.origin(row), f"no JSON ({error})")
        return
    if isinstance(value, dict) and config.text_column not in value:
        known = ", ".join(map(str, list(value)[:8]))
        yield SetAside("no text", file.origin(row), f"has no column {config.text_column!r}" + (f", only {known}" if known else ""))
        return
    yield from _value(value[config.text_column] if isinstance(value, dict) else value, number, row, file, config, broken)


def _value(value: Any, number: int, row: int, file: InputFile, config: CorpusConfig, broken: int = 0) -> Iterator[Found]:
    """A document that some row holds as `value`."""
    if not isinstance(value, str):
        what = "nothing" if value is None else f"no text but a {type(value).__name__}"
        yield SetAside("no text", file.origin(row), f"the column {config.text_column!r} holds {what}")
        return
    try:
        content = value.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, written as an escape, is no character.
        repaired = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        content, broken = repaired.encode(), broken + repaired.count(REPLACEMENT) - value.count(REPLACEMENT)
        value = repaired
    if len(content) <= config.piece_bytes:
        yield Piece(value, number, row, False, broken)
        return
    begin = 0
    while begin < len(content):
        part = content[begin : begin + config.piece_bytes + 1]
        cut = cut_before(part, config.piece_bytes) if len(part) > config.piece_bytes else len(part)
        yield Piece(part[:cut].decode(), number, row, begin > 0, 0 if begin else broken)
        begin += cut


def _read_parquet(span: Span, file: InputFile, config: CorpusConfig, told: Progress) -> Iterator[Found]:
    with seekable(Path(file.path), file.packing) as stream:
        table = parquet_file(stream)
        columns: Sequence[str] = table.schema_arrow.names
        if config.text_column not in columns:
            yield SetAside("no text", file.name, f"has no column {config.text_column!r}, only {', '.join(columns[:8])}")
            return
        groups = range(span.start, table.metadata.num_row_groups if span.stop is None else span.stop)
        row = sum(table.metadata.row_group(group).num_rows for group in range(span.start))
        batches = table.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=groups, columns=[config.text_column], use_threads=False)
        for batch in batches:
            for value in _texts(batch.column(0)):
                row += 1
                yield from _value(value, span.file, row, file, config)


def _texts(column: Any) -> Iterator[Any]:
    """The values of a column; broken UTF-8 in it becomes replacement characters."""
    import pyarrow

    if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
        large = pyarrow.types.is_large_string(column.type)
        column = column.cast(pyarrow.large_binary() if large else pyarrow.binary())
    for value in column:
        content = value.as_py()
        yield content.decode("utf-8", "replace") if isinstance(content, bytes) else content


def check_readers(files: Sequence[InputFile]) -> None:
    """See that what the files need is installed, before any work is done.

    Raises:
        InputError: a library is missing.
    """
    if any(file.kind == "parquet" for file in files) and importlib.util.find_spec("pyarrow") is None:
        raise missing_extra("pyarrow", "parquet")

"""Data files: their bytes, unpacked where they are gzipped, and the split that a name speaks of."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from pathlib import Path

from modelwright.core.errors import InputError
from modelwright.data.source import SPLIT_WORDS

MAX_INFLATION = 1000
"""A gzip file may unpack to this many times its size, and at any rate to `ANY_INFLATION` bytes; what packs better is made to fill memory."""
ANY_INFLATION = 1 << 30


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if it begins with gzip's mark.

    Raises:
        InputError: the file is missing, unreadable, empty, or a gzip file that is truncated, damaged or a bomb.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError("does not exist", where=path) from None
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror})", where=path) from None
    if content[:2] == b"\x1f\x8b":
        try:
            content = _unpack(content, path)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            kind = "truncated" if isinstance(error, EOFError) else "damaged"
            raise InputError(f"the gzip file is {kind}", where=path, remedy="Copy or download it again") from None
    if not content:
        raise InputError("the file is empty", where=path)
    return content


def _unpack(packed: bytes, path: Path) -> bytes:
    limit = max(ANY_INFLATION, MAX_INFLATION * len(packed))
    unpacked = io.BytesIO()
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        while chunk := file.read(1 << 24):
            unpacked.write(chunk)
            if unpacked.tell() > limit:
                raise InputError(f"the gzip file unpacks to more than {MAX_INFLATION:,} times its size", where=path, expected="data")
    return unpacked.getvalue()


def decode(content: bytes, encoding: str | None, where: object) -> str:
    """The text in `content`: UTF-8 (with or without its mark) or UTF-16 with its mark, unless an `encoding` is given.

    Raises:
        InputError: names the line and the byte that don't fit, and the remedy.
    """
    chosen = encoding or ("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    try:
        text = content.decode(chosen)
    except LookupError:
        raise InputError(f"unknown encoding {encoding!r}", expected="one like utf-8, latin-1 or cp1252") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"the byte 0x{content[error.start]:02x} is no {'UTF-8' if chosen == 'utf-8-sig' else chosen} text",
            where=f"{where} line {line}, byte {error.start}",
            remedy="Set encoding to that of the file, for example latin-1, or save the file as UTF-8",
        ) from None
    if "\0" in text:
        raise InputError("holds binary data", where=where, expected="text")
    return text


def split_of(name: str) -> str | None:
    """The split that a file's or folder's name speaks of: `validation` for `adult-valid.csv`, None for `adult.csv`."""
    spoken = [SPLIT_WORDS[word] for word in re.split(r"[^a-z0-9]+", name.lower()) if word in SPLIT_WORDS]
    return spoken[-1] if spoken else None

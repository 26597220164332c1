"""Streams: the bytes of a file, unpacked and brought to UTF-8 as they are read, never all at once."""

from __future__ import annotations

import errno
import gzip
import io
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from modelwright.core.errors import InputError, import_extra
from modelwright.data.files import ANY_INFLATION, MAX_INFLATION

Packing = Literal["gzip", "zstd"]
MARKS: dict[bytes, Packing] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
BYTES_UNPACKED_AT_ONCE = 2048
"""Of a zstd file: a block of 128 KiB can be packed into four bytes."""

FAULTS_OF_FILES = {None, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR, errno.EINVAL, errno.ESTALE, errno.ELOOP}
"""Errors that are the fault of the file being read; pyarrow gives none for a damaged one. A full disk or too little memory is no reason to set
a file aside."""


def packing_of(head: bytes) -> Packing | None:
    """How a file that begins with `head` is compressed, if it is."""
    return next((packing for mark, packing in MARKS.items() if head.startswith(mark)), None)


class UnreadableError(InputError):
    """A file, or the rest of one, that can't be read; it is set aside, and the work goes on."""


@contextmanager
def reading_errors() -> Iterator[None]:
    """Turn whatever a damaged or unreadable file raises into an `UnreadableError` whose `found` is a clause."""
    try:
        yield
    except EOFError:
        raise UnreadableError("the compressed file is truncated") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableError(f"the gzip file is damaged ({error})") from None
    except OSError as error:
        if error.errno not in FAULTS_OF_FILES:
            raise
        raise UnreadableError(f"can't be read ({error.strerror or error})") from None
    except Exception as error:
        # zstandard and pyarrow have exception classes of their own, and are imported late.
        if type(error).__module__.split(".")[0] not in ("zstandard", "pyarrow"):
            raise
        raise UnreadableError(f"is damaged ({' '.join(str(error).split())[:200]})") from None


class _Told(io.FileIO):
    """A file that tells how many bytes are read from it."""

    def __init__(self, path: Path, told: Callable[[int], None]) -> None:
        super().__init__(path, "rb")
        self._told = told

    def readinto(self, buffer: Any) -> int | None:
        number = super().readinto(buffer)
        self._told(number or 0)
        return number


class _Zstandard(io.RawIOBase):
    """The content of all frames of a zstd file, one after the other."""

    def __init__(self, packed: BinaryIO) -> None:
        self._library, self._packed = _zstandard(), packed
        self._frame: Any = None
        self._rest = self._content = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._content and self._unpack():
            pass
        content, self._content = self._content[: len(buffer)], self._content[len(buffer) :]
        buffer[: len(content)] = content
        return len(content)

    def _unpack(self) -> bool:
        """Unpack a little more; False at the end.

        Raises:
            EOFError: the file ends within a frame.
        """
        packed = self._rest or self._packed.read(BYTES_UNPACKED_AT_ONCE)
        if not packed and self._frame is not None:
            raise EOFError
        if packed:
            self._frame = self._frame or self._library.ZstdDecompressor().decompressobj()
            self._content, self._rest = self._frame.decompress(packed), b""
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        return bool(packed)


class _Unpacked(io.RawIOBase):
    """An unpacking stream over a `packed` one that refuses to inflate without bounds."""

    def __init__(self, stream: BinaryIO, packed: BinaryIO, packed_size: int) -> None:
        self._stream, self._packed, self._left = stream, packed, max(ANY_INFLATION, MAX_INFLATION * packed_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise UnreadableError(f"unpacks to more than {MAX_INFLATION:,} times its size")
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._stream.close()
        self._packed.close()
        super().close()


class _Transcoded(io.RawIOBase):
    """A stream of text in another encoding, as UTF-8; what doesn't fit the encoding becomes the replacement character."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="")
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = self._text.read(max(1, len(buffer) // 4)).encode("utf-8", "replace")
        content, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._text.close()
        super().close()


def open_stream(
    path: Path, packing: Packing | None, encoding: str | None = None, told: Callable[[int], None] = lambda number: None
) -> BinaryIO:
    """The bytes of a file, unpacked, and brought to UTF-8 from another `encoding`; `told` is told how many bytes are read from the disk.

    Raises:
        InputError: zstandard is needed and not installed.
    """
    if packing == "zstd":
        _zstandard()
    stream: Any = io.BufferedReader(_Told(path, told), 1 << 17)
    if packing is not None:
        unpacking = _Zstandard(stream) if packing == "zstd" else gzip.GzipFile(fileobj=stream)
        stream = io.BufferedReader(_Unpacked(cast(BinaryIO, unpacking), stream, path.stat().st_size), 1 << 18)
    if encoding is not None:
        stream = io.BufferedReader(_Transcoded(stream, encoding), 1 << 18)
    return stream


@contextmanager
def seekable(path: Path, packing: Packing | None) -> Iterator[BinaryIO]:
    """The bytes of a file in a form that can be sought in: a packed one is unpacked into a temporary file."""
    if packing is None:
        with path.open("rb") as file:
            yield file
        return
    with open_stream(path, packing) as stream, tempfile.TemporaryFile() as unpacked:
        shutil.copyfileobj(stream, unpacked, 1 << 20)
        unpacked.seek(0)
        yield cast(BinaryIO, unpacked)


def parquet_file(stream: BinaryIO) -> Any:
    """An open `pyarrow.parquet.ParquetFile`.

    Raises:
        InputError: pyarrow is not installed.
    """
    return import_extra("pyarrow.parquet", "pyarrow", "parquet").ParquetFile(stream, pre_buffer=False)


def _zstandard() -> Any:
    return import_extra("zstandard", "zstandard", "text")

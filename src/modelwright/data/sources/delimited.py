"""Delimited tables: a CSV, TSV or the like, gzipped or not; or a folder with one, or with one for each split."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modelwright.core.errors import InputError
from modelwright.data.config import DataConfig
from modelwright.data.examples import Examples
from modelwright.data.files import decode, read_bytes, split_of
from modelwright.data.source import sources
from modelwright.data.table import is_table, parse_table

SUFFIXES = (".csv", ".tsv", ".tab", ".psv", ".data", ".test")
PLAIN_SUFFIXES = (*SUFFIXES, ".txt", ".dat")


HEAD_BYTES = 1 << 16


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _is_prose(path: Path) -> bool:
    """Whether a file begins like text and not like a table; one that is empty or can't be read does not."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return False
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
    whole = text if len(head) < HEAD_BYTES else text.rpartition("\n")[0] or text
    return bool(whole.strip()) and "\0" not in whole and not is_table(whole)


@sources.register("delimited")
class Delimited:
    """Reads tables of delimited text."""

    accepts = "a table (.csv, .tsv, .data or .txt, also gzipped) or a folder with one, or with one for each split"
    names: tuple[str, ...] = ()

    def recognizes(self, argument: str) -> float:
        """Sure of a table's suffix, of .txt if it looks like a table; of a folder, if tables lie in it that are named after splits."""
        path = Path(argument)
        if path.is_file():
            return 0.0 if _suffix(path) not in PLAIN_SUFFIXES else 0.3 if _suffix(path) == ".txt" and _is_prose(path) else 1.0
        tables = self._tables(path)
        if not tables:
            return 0.0
        return 0.9 if any(split_of(table.name) == "train" for table in tables) else 0.4

    def read(self, argument: str, config: DataConfig) -> Examples:
        """Read one table, or all tables of a folder that are named after a split.

        Raises:
            InputError: a file can't be read as a table, or it is unclear which of several to read.
        """
        path = Path(argument)
        if not path.is_dir():
            return self._read(path, path.name, config)
        tables = self._tables(path)
        if len(tables) == 1:
            return self._read(tables[0], tables[0].name, config)
        return self._read_splits(path, tables, config)

    def _tables(self, folder: Path) -> list[Path]:
        if not folder.is_dir():
            return []
        return sorted(path for path in folder.iterdir() if path.is_file() and _suffix(path) in SUFFIXES and not path.name.startswith("."))

    def _read(self, path: Path, name: str, config: DataConfig, columns: Sequence[str] | None = None) -> Examples:
        if not path.exists():
            raise InputError("does not exist", where=path)
        return parse_table(decode(read_bytes(path), config.encoding, path), name, config, columns)

    def _read_splits(self, folder: Path, tables: list[Path], config: DataConfig) -> Examples:
        """Each table belongs to the split that its name speaks of; the training table sets the columns."""
        named = {table: split_of(table.name) for table in tables}
        plain = [table for table, split in named.items() if split is None]
        if "train" not in named.values():
            if len(plain) != 1 or len(plain) == len(tables):
                raise InputError(
                    f"holds {len(tables)} tables and none is named train",
                    where=folder,
                    expected="one table, or tables named train, validation and test",
                    remedy=f"Name the file itself, for example {tables[0]}",
                )
            named[plain.pop()] = "train"
        order = {"train": 0, "validation": 1, "test": 2}
        chosen = sorted(((table, split) for table, split in named.items() if split), key=lambda row: (order[row[1]], row[0]))
        parts: list[Examples] = []
        for table, split in chosen:
            part = self._read(table, table.name, config, list(parts[0].columns) if parts else None)
            parts.append(part.replace(split=np.full(len(part), split, dtype="<U10")))
        notes = [f"{table.name} is left out: its name speaks of no split" for table in plain]
        return self._together(parts, [table.name for table, _ in chosen], notes)

    def _together(self, parts: list[Examples], names: list[str], notes: list[str]) -> Examples:
        """All tables as one, after a look at the columns that some lack."""
        columns = list(parts[0].columns)
        absent: list[str] = []
        for part, name in zip(parts[1:], names[1:], strict=True):
            extra = [column for column in part.columns if column not in columns]
            lacking = [column for column in columns if column not in part.columns]
            if len(lacking) > 1 or (extra and lacking):
                raise InputError(
                    f"lacks the columns {', '.join(lacking)} of {names[0]}", where=name, expected="the same columns in each table"
                )
            if extra:
                raise InputError(f"has columns that {names[0]} lacks: {', '.join(extra)}", where=name)
            for column in lacking:
                notes.append(f"{name} lacks the column {column!r}")
            absent += lacking
        together = Examples.concat(parts)
        target = absent[0] if len(set(absent)) == 1 else None
        return together.replace(notes=(*together.notes, *notes), target=target)

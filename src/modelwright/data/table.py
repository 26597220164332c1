"""A table as text: rows of fields, whose delimiter and header are inferred and whose bad rows are set aside."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelwright.core.errors import InputError
from modelwright.data.config import DataConfig
from modelwright.data.examples import Examples, Origins, Reject
from modelwright.data.numbers import parse_number

DELIMITERS = (",", ";", "\t", "|", " ", ":")
"""Those that are tried, the likeliest first; a blank stands for any run of white space."""
DECIMAL_COMMA_DELIMITERS = (";", "\t")
"""Those that tables are written with where the decimal sign is a comma."""
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
SAMPLE_ROWS = 200
MAX_BAD_SHARE = 0.5
MIN_EVEN_SHARE = 0.9
"""Share of the rows that must have the same number of fields before a text is taken for a table."""
MAX_FIELD = 1 << 24
"""Characters in one field; more is a quote that was never closed."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a table that are not blank, and the line on which each begins."""

    fields: list[list[str]]
    lines: list[int]
    last_line: int


def parse_table(text: str, name: str, config: DataConfig, columns: Sequence[str] | None = None) -> Examples:
    """The table in `text`; every value is a str, or None where it is missing.

    Args:
        text: the whole table.
        name: of the file, for origins and errors.
        config: what is known about the table.
        columns: the names of the columns, where they are known already: they tell a header, and name the columns if there is none.

    Raises:
        InputError: there are no rows, more than half of them are ragged, or a quote is never closed.
    """
    delimiter = config.delimiter or infer_delimiter(text)
    rows = split_rows(text, delimiter, name)
    if not rows.fields:
        raise InputError("the table is empty", where=name)
    _check_last_quote(text, rows, name)
    width = Counter(map(len, rows.fields)).most_common(1)[0][0]
    first = next(index for index, row in enumerate(rows.fields) if len(row) == width)
    body = [row for row in rows.fields[first + 1 : first + 1 + 5 * SAMPLE_ROWS] if len(row) == width]
    names = [cell.strip() for cell in rows.fields[first]]
    if columns is not None and config.header is None:
        header = bool(set(names) & set(columns)) or (not is_unnamed(columns) and is_header(names, body, config))
    else:
        header = is_header(names, body, config)
    notes: list[str] = []
    if header:
        names = _unique(names, notes, name)
    elif columns is not None and len(columns) == width:
        names = list(columns)
    else:
        names = [f"column_{index + 1}" for index in range(width)]
    kept = [index for index, row in enumerate(rows.fields) if len(row) == width and not (header and index == first)]
    rejects = _ragged(rows, width, name)
    if len(rejects) > MAX_BAD_SHARE * (len(kept) + len(rejects)):
        raise InputError(
            f"{len(rejects)} of {len(kept) + len(rejects)} rows don't have {width} fields like the others",
            where=name,
            expected=f"the same number of fields, separated by {delimiter!r}, in each row",
            remedy="Set delimiter if it is another one",
        )
    if not kept:
        raise InputError("the table has a header and no rows", where=name)
    cells = zip(*(rows.fields[index] for index in kept), strict=True)
    missing = dict.fromkeys(config.missing_values)
    commas = delimiter in DECIMAL_COMMA_DELIMITERS
    values = {column: _column(field, missing, commas) for column, field in zip(names, cells, strict=True)}
    origins = Origins.within(name, "line", [rows.lines[index] for index in kept])
    return Examples(values, origins, rejects=tuple(rejects), notes=tuple(notes))


def split_rows(text: str, delimiter: str, name: str) -> Rows:
    """The rows of `text` that are not blank.

    Raises:
        InputError: a field is longer than any real one, so that a quote must be unclosed.
    """
    fields: list[list[str]] = []
    lines: list[int] = []
    if delimiter == " ":
        split = lines_of(text)
        for number, line in enumerate(split, 1):
            if line.strip():
                fields.append(line.split())
                lines.append(number)
        return Rows(fields, lines, len(split))
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != "\t")
    begin = 1
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                fields.append(row)
                lines.append(begin)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"the row can't be read ({error})", where=f"{name} line {begin}") from None
    return Rows(fields, lines, reader.line_num)


def lines_of(text: str) -> list[str]:
    """The lines of `text` as files count them: not ended by the line and page breaks that Unicode has inside of texts."""
    return [line.rstrip("\n") for line in io.StringIO(text, newline=None)]


def infer_delimiter(text: str) -> str:
    """The delimiter that splits the first rows most evenly into more than one field, and of those the most fields; a comma if none does."""
    sample = "\n".join(lines_of(text[: 1 << 18])[:SAMPLE_ROWS])
    best, best_rank = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        try:
            fields = split_rows(sample, delimiter, "").fields
        except InputError:
            continue
        counts = Counter(map(len, fields))
        width, rows = counts.most_common(1)[0] if counts else (1, 0)
        if width < 2:
            continue
        # Blanks and colons stand inside texts and times too, so another delimiter that splits as evenly is preferred; and decimal commas
        # split all rows evenly but the header.
        doubt = (0.7 if delimiter in " :" else 1.0) * (1.0 if len(fields[0]) == width else 0.5)
        rank = (round(rows / counts.total() * doubt, 1), width)
        if rank > best_rank:
            best, best_rank = delimiter, rank
    return best


def is_table(text: str) -> bool:
    """Whether `text`, the beginning of a file, is a table rather than prose: nearly all rows have the same number of fields, several.

    Where blanks or colons, which stand in every text, separate them, most of the fields must be numbers.
    """
    delimiter = infer_delimiter(text)
    try:
        rows = split_rows("\n".join(lines_of(text)[:SAMPLE_ROWS]), delimiter, "").fields
    except InputError:
        return False
    width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
    if width < 2 or count < MIN_EVEN_SHARE * len(rows):
        return False
    cells = [cell for row in rows if len(row) == width for cell in row]
    numbers = sum(parse_number(cell) is not None for cell in cells)
    return delimiter not in " :" or 2 * numbers > len(cells)


def is_header(first: Sequence[str], body: Sequence[Sequence[str]], config: DataConfig) -> bool:
    """Whether the row `first` names the columns of the rows `body` below it, rather than being one of them.

    It does if it holds a name that the user spoke of, or if no cell of it is a number or stands twice and either some column below is
    made of numbers or no cell turns up again in its column.
    """
    if config.header is not None:
        return config.header
    spoken_of = {*config.types, *config.ignore, *([config.target] if config.target else [])}
    if spoken_of & set(first):
        return True
    named = [cell for cell in first if cell]
    if not named or len(set(named)) < len(named) or any(parse_number(cell) is not None for cell in named):
        return False
    if not body:
        return True
    missing = set(config.missing_values)
    below = [{cell.strip() for cell in column} - missing for column in zip(*body, strict=True)]
    if any(
        name not in missing and column and all(parse_number(cell) is not None for cell in column)
        for name, column in zip(first, below, strict=True)
    ):
        return True
    return not any(name in column for name, column in zip(first, below, strict=True))


def is_unnamed(columns: Sequence[str]) -> bool:
    """Whether the names are those that a table without a header gets."""
    return all(re.fullmatch(r"column_\d+", column) for column in columns)


def _unique(names: list[str], notes: list[str], where: str) -> list[str]:
    """Column names without blanks and repetitions."""
    result: list[str] = []
    for position, name in enumerate(names, 1):
        new = name or f"column_{position}"
        while new in result:
            new = f"{new}_{position}"
        if name and new != name:
            notes.append(f"{where}: a second column called {name!r} is now called {new!r}")
        result.append(new)
    return result


def _check_last_quote(text: str, rows: Rows, name: str) -> None:
    """See that the last row is not all that follows a quote that is never closed.

    Raises:
        InputError: it is.
    """
    begin = rows.lines[-1] if rows.lines else rows.last_line
    if rows.last_line > begin and "\n".join(lines_of(text)[begin - 1 :]).count('"') % 2:
        raise InputError("a quote is opened here and never closed", where=f"{name} line {begin}", remedy="Close it, or remove it")


def _ragged(rows: Rows, width: int, name: str) -> list[Reject]:
    """The rows of another width, as rejects."""
    return [
        Reject(f"{name} line {line}", f"has {len(row)} field{'s' * (len(row) != 1)} where the others have {width}")
        for row, line in zip(rows.fields, rows.lines, strict=True)
        if len(row) != width
    ]


def _column(cells: Sequence[str], missing: dict[str, None], decimal_commas: bool) -> np.ndarray:
    """One column's texts without surrounding blanks, None where missing; 1,5 is written 1.5 where commas are decimal."""
    clean: dict[str, str | None] = {cell: missing.get(text := cell.strip(), text) for cell in set(cells)}
    if decimal_commas:
        clean |= {cell: text.replace(",", ".") for cell, text in clean.items() if text and DECIMAL_COMMA.fullmatch(text)}
    column = np.empty(len(cells), dtype=object)
    column[:] = [clean[cell] for cell in cells]
    return column

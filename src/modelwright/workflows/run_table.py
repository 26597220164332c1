"""A table of runs: read, its columns found, and what can't be used set aside with the reason."""

from __future__ import annotations

import csv
import io
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.core.errors import InputError, unknown_name
from modelwright.core.units import MULTIPLES
from modelwright.data.files import decode, read_bytes
from modelwright.planning.laws.points import AXES, Points

NAMES: dict[str, tuple[str, ...]] = {
    "params": ("params", "parameters", "n_params", "num_params", "num_parameters", "model_size", "n", "size"),
    "data": ("data", "tokens", "n_tokens", "num_tokens", "training_tokens", "train_tokens", "samples", "examples", "d"),
    "compute": ("compute", "flops", "flop", "training_flops", "training_flop", "train_flops", "total_flops", "c"),
    "unique": ("unique", "unique_tokens", "unique_data", "unique_examples", "u"),
    "epochs": ("epochs", "num_epochs"),
    "loss": ("loss", "final_loss", "val_loss", "validation_loss", "test_loss", "eval_loss", "error"),
    "accuracy": ("accuracy", "acc", "val_accuracy", "test_accuracy"),
}
"""Names by which a column is known for what it is, letters of either case."""
WITHOUT_EMBEDDINGS = re.compile(r"no[_ -]?emb|non[_ -]?emb|without[_ -]?emb|excl", re.IGNORECASE)
FEWEST_RUNS = 5
MOST = 1e100
"""Of anything; what is larger counts as infinite."""
UNIT_GAP = 1000.0
"""A factor between neighboring values of a column that means another unit."""
RATIO_GAP = 100.0
"""The same of data over parameters."""
ACCURACY_GAP = 10.0
"""The same between accuracies up to 1 and those above, where both are there."""
COMPUTE_GAP = 10.0
"""The same of compute over parameters times data, against its median."""
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "!=": operator.ne, "<": operator.lt, ">": operator.gt, "=": operator.eq,
}  # fmt: skip
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([kKmMgGbBtT]?|%)")


@dataclass(frozen=True)
class RunTable:
    """Runs that a law can be fitted to.

    Attributes:
        points: n of them, by axis.
        values: losses (n,), or what accuracies lack to 1.
        measure: `loss` or `accuracy`.
        columns: the column of each axis and of the measure, with its factor where it has one.
        without_embeddings: another column of parameters (n,) that leaves embeddings out, with its name, if there is one.
        flops: operations that a parameter and a token cost: the median over the runs, 6 where compute isn't told.
        notes: what was set aside, in words.
    """

    points: Points
    values: np.ndarray
    measure: str
    columns: Mapping[str, str]
    without_embeddings: tuple[str, np.ndarray] | None
    flops: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Column:
    """A column as asked for: `tokens` or `tokens_in_billions*1e9`."""

    name: str
    factor: float = 1.0

    @classmethod
    def parse(cls, text: str) -> _Column:
        name, star, factor = text.rpartition("*")
        if not star:
            return cls(text)
        try:
            return cls(name.strip(), float(factor))
        except ValueError:
            raise InputError(f"can't read the column {text!r}", expected="a name, or name*factor like tokens_b*1e9") from None

    def __str__(self) -> str:
        return self.name if self.factor == 1 else f"{self.name}*{self.factor!r}"


Row = tuple[int, dict[str, str]]
"""The line of a row, and its cells by column."""


def read_runs(path: Path | str, mapping: Mapping[str, str | None], where: Iterable[str] = ()) -> RunTable:
    """The runs of a delimited table.

    Args:
        path: a CSV or TSV file with a header.
        mapping: columns by axis or measure (`params`, `data`, `compute`, `unique`, `epochs`, `loss`, `accuracy`); found by their names where
            not said. Epochs stand for the data or the unique data, whichever isn't told.
        where: conditions on columns, like `dataset=c4` or `params<=4e8`.

    Raises:
        InputError: the file, a column or a condition is wrong; or the runs are too few, in mixed units, or get worse with compute.
    """
    rows, header = _rows(Path(path))
    rows = [row for row in rows if _meets(row, where, header, path)]
    if not rows:
        raise InputError("no run is left", where=path, remedy="Change --where" if where else None)
    columns, measure = _find_columns(header, mapping, path)
    if measure == "accuracy":
        columns[measure] = _as_share(columns[measure], rows, path)
    kept, table, notes = _numbers(rows, columns, measure)
    if len(kept) < FEWEST_RUNS:
        raise InputError(
            f"{len(kept)} usable runs are too few{': ' + '; '.join(notes) if notes else ''}", where=path, expected=f"at least {FEWEST_RUNS}"
        )
    table = _epochs_told(table)
    _check_units(table, kept, columns, path)
    flops = _flops(table, kept, path)
    points = Points({axis: table[axis] for axis in AXES if axis in table}, flops)
    values = table[measure] if measure == "loss" else 1 - table["accuracy"]
    _check_direction(points, values, measure, path)
    other = _without_embeddings(header, columns.get("params"), kept)
    return RunTable(points, values, measure, {axis: str(column) for axis, column in columns.items()}, other, flops, tuple(notes))


def read_targets(path: Path | str, columns: Mapping[str, str], flops: float) -> tuple[Points, list[float | None]]:
    """Points to foretell, in columns of the same names; and the measured value of each, None where the file has none.

    Raises:
        InputError: a column or a number is missing.
    """
    rows, header = _rows(Path(path))
    known = {axis: _Column.parse(text) for axis, text in columns.items()}
    axes = {axis: column for axis, column in known.items() if axis in (*AXES, "epochs") and column.name in header}
    if not axes or not rows:
        raise InputError(
            "tells no point to foretell", where=path, expected=f"columns like {', '.join(columns.values())}, and a row a point"
        )
    table = {
        axis: np.array([_positive(cells.get(column.name, ""), column, f"{path} line {line}") for line, cells in rows])
        for axis, column in axes.items()
    }
    measure = known["loss" if "loss" in known else "accuracy"]
    told = [_number(cells.get(measure.name, "")) for _, cells in rows]
    return Points(_epochs_told(table), flops), [value * measure.factor if value else None for value in told]


def parse_target(text: str) -> dict[str, float]:
    """A point as `params=6.9e9,data=138e9`.

    Raises:
        InputError: it isn't one.
    """
    point: dict[str, float] = {}
    for part in text.split(","):
        axis, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise InputError(f"can't read --predict {text!r}", expected="like params=6.9e9,data=138e9")
        if axis not in (*AXES, "epochs"):
            raise unknown_name("axis", axis, (*AXES, "epochs"), where=f"--predict {text}")
        point[axis] = _positive(number, _Column(axis), f"--predict {text}")
    return _epochs_told(point)


def _epochs_told(table: Mapping[str, Any]) -> dict[str, Any]:
    """The same numbers with the data, or the unique data, in place of the epochs."""
    told = dict(table)
    epochs = told.pop("epochs", None)
    if epochs is not None and "data" in told:
        told.setdefault("unique", told["data"] / np.maximum(epochs, 1.0))
    elif epochs is not None and "unique" in told:
        told["data"] = told["unique"] * epochs
    return told


def _rows(path: Path) -> tuple[list[Row], list[str]]:
    text = decode(read_bytes(path), None, path.name)
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first:
        raise InputError("is empty", where=path, expected="a table with a header, and a run a row")
    delimiter = max(",\t;|", key=first.count)
    if delimiter == ";" and "." not in text:
        text = text.replace(",", ".")
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    try:
        header = [name.strip() for name in reader.fieldnames or []]
        rows = [
            (reader.line_num, {str(key).strip(): (value or "").strip() for key, value in row.items() if isinstance(value, str | None)})
            for row in reader
        ]
    except csv.Error as error:
        raise InputError(f"is no table ({error})", where=f"{path} line {reader.line_num}") from None
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        raise InputError("has two columns of one name", where=path)
    return rows, header


def _meets(row: Row, where: Iterable[str], header: list[str], path: object) -> bool:
    for condition in where:
        match = re.fullmatch(r"\s*(.+?)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*", condition)
        if match is None:
            raise InputError(f"can't read --where {condition!r}", expected="like dataset=c4 or params<=4e8")
        name, sign, wanted = match.groups()
        if name not in header:
            raise unknown_name("column", name, header, where=path)
        cell = row[1].get(name, "")
        number, limit = _number(cell), _number(wanted)
        if number is not None and limit is not None:
            good = COMPARISONS[sign](number, limit)
        elif sign in ("=", "!="):
            good = COMPARISONS[sign](cell, wanted)
        else:
            good = False
        if not good:
            return False
    return True


def _find_columns(header: list[str], mapping: Mapping[str, str | None], path: object) -> tuple[dict[str, _Column], str]:
    found: dict[str, _Column] = {}
    for axis, text in mapping.items():
        if text is not None:
            column = _Column.parse(text)
            if column.name not in header:
                raise unknown_name("column", column.name, header, where=path)
            found[axis] = column
    if {"loss", "accuracy"} <= found.keys():
        raise InputError("a law is of one measure", expected="--loss or --accuracy, not both")
    by_name = {name.lower().replace(" ", "_").replace("-", "_"): name for name in header}
    for axis, names in NAMES.items():
        if axis in ("loss", "accuracy") and {"loss", "accuracy"} & found.keys():
            continue
        match = next((by_name[name] for name in names if name in by_name), None)
        if axis not in found and match is not None:
            found[axis] = _Column(match)
    if mapping.get("epochs") is None and len({"data", "unique"} & found.keys()) != 1:
        found.pop("epochs", None)
    measures = [measure for measure in ("loss", "accuracy") if measure in found]
    if not measures:
        near = [name for name in header if "loss" in name.lower() or "acc" in name.lower()]
        raise InputError(
            "no column is known to be the loss", where=path, expected=f"--loss or --accuracy and one of {', '.join(near or header)}"
        )
    found.pop("accuracy" if measures[0] == "loss" else "loss", None)
    axes = found.keys() | ({"data"} if {"unique", "epochs"} <= found.keys() else set())
    if not {"params", "data", "compute"} & axes:
        raise InputError(
            "no column is known to be parameters, data or compute",
            where=path,
            expected=f"--params, --data or --compute and one of {', '.join(header)}",
        )
    if "compute" not in axes and not {"params", "data"} <= axes:
        lacking = "data" if "params" in found else "params"
        raise InputError(
            f"no column is known to be {lacking}", where=path, expected=f"--{lacking} or --compute and one of {', '.join(header)}"
        )
    return found, measures[0]


def _numbers(rows: list[Row], columns: Mapping[str, _Column], measure: str) -> tuple[list[Row], dict[str, np.ndarray], list[str]]:
    """The rows that can be used, their numbers by axis and measure, and notes on the others."""
    bad: list[str] = []
    kept: dict[tuple[float, ...], Row] = {}
    repeated = 0
    for line, cells in rows:
        numbers = {axis: _number(cells.get(column.name, "")) for axis, column in columns.items()}
        scaled = {axis: number * columns[axis].factor for axis, number in numbers.items() if number is not None}
        wrong = next((axis for axis in columns if not 0 < scaled.get(axis, math.nan) < MOST), None)
        if wrong is None and measure == "accuracy" and scaled[measure] >= 1:
            wrong = measure
        if wrong is not None:
            bad.append(f"line {line} ({columns[wrong].name} is {cells.get(columns[wrong].name) or 'missing'})")
            continue
        key = tuple(scaled[axis] for axis in columns)
        repeated += key in kept
        kept.setdefault(key, (line, cells))
    notes = []
    if bad:
        notes.append(f"{len(bad)} run{'s' if len(bad) > 1 else ''} set aside: {', '.join(bad[:5])}{', ...' if len(bad) > 5 else ''}")
    if repeated:
        notes.append(f"{repeated} row{'s' if repeated > 1 else ''} that say the same as an earlier one set aside")
    values = np.array(list(kept)).reshape(len(kept), len(columns))
    return list(kept.values()), {axis: values[:, number] for number, axis in enumerate(columns)}, notes


def _as_share(column: _Column, rows: list[Row], path: object) -> _Column:
    """The column of an accuracy, whose unit is 1 or, where a value is above 1.5, percent."""
    told = sorted(
        number for _, cells in rows if (number := _number(cells.get(column.name, ""))) is not None and 0 < number * column.factor <= 100
    )
    shares, percents = ([number for number in told if (number * column.factor > 1.5) is percent] for percent in (False, True))
    if not percents:
        return column
    if shares and percents[0] > ACCURACY_GAP * shares[-1]:
        raise InputError(
            f"the column {column.name} mixes units, it seems: {shares[-1]:.4g}, and nothing from there to {percents[0]:.4g}",
            where=path, expected="shares or percents, not both", remedy="Bring all rows to one unit, or leave some out by --where",
        )  # fmt: skip
    return _Column(column.name, column.factor / 100)


def _check_units(table: Mapping[str, np.ndarray], rows: list[Row], columns: Mapping[str, _Column], path: object) -> None:
    """Refuse a column that seems to count in two units."""
    named = {axis: (f"the column {columns[axis].name}", table[axis], UNIT_GAP) for axis in AXES if axis in table and axis in columns}
    if {"params", "data"} <= table.keys():
        named["ratio"] = ("data over parameters", table["data"] / table["params"], RATIO_GAP)
    for name, column, gap in named.values():
        order = np.argsort(column)
        steps = column[order][1:] / column[order][:-1]
        if len(steps) and steps.max() > gap:
            place = int(np.argmax(steps))
            small, large = order[place], order[place + 1]
            raise InputError(
                f"{name} mixes units, it seems: {column[small]:.4g} in line {rows[small][0]}, "
                f"and nothing from there to {column[large]:.4g} in line {rows[large][0]}",
                where=path,
                remedy="Bring all rows to one unit, or leave some out by --where",
            )


def _flops(table: Mapping[str, np.ndarray], rows: list[Row], path: object) -> float:
    """Operations that a parameter and a token cost, where all three are told; refuse rows far from the others."""
    if not {"params", "data", "compute"} <= table.keys():
        return 6.0
    each = table["compute"] / (table["params"] * table["data"])
    middle = float(np.median(each))
    off = np.abs(np.log(each / middle))
    if off.max() > math.log(COMPUTE_GAP):
        worst = int(np.argmax(off))
        raise InputError(
            f"the units don't fit together, it seems: compute is {each[worst]:.3g} times parameters times data in line {rows[worst][0]}, "
            f"and {middle:.3g} times in the median",
            where=path,
            remedy="Bring all rows to one unit, or leave the compute column out",
        )
    return middle


def _check_direction(points: Points, values: np.ndarray, measure: str, path: object) -> None:
    """Refuse runs that get worse with compute."""
    if not np.ptp(values) > 0:
        raise InputError(f"the {measure} is the same in all runs", where=path)
    if not np.ptp(points["compute"]) > 0:
        raise InputError(
            "all runs have the same compute", where=path, expected="runs of growing size", remedy="Add smaller and larger runs"
        )
    compute, value = (np.unique(column, return_inverse=True)[1] for column in (points["compute"], values))
    correlation = float(np.corrcoef(compute, value)[0, 1])
    if correlation > 0:
        what = "the loss rises" if measure == "loss" else "the accuracy falls"
        raise InputError(
            f"{what} with compute (rank correlation {correlation:+.2f}): no scaling law describes these runs",
            where=path,
            remedy="Look for diverged or badly tuned runs, or check which column is which",
        )


def _without_embeddings(header: list[str], used: _Column | None, rows: list[Row]) -> tuple[str, np.ndarray] | None:
    """The column, as `--params` takes it, and the numbers of parameters without embeddings, where others were used."""
    if used is None or WITHOUT_EMBEDDINGS.search(used.name):
        return None
    other = next((name for name in header if name != used.name and WITHOUT_EMBEDDINGS.search(name) and "param" in name.lower()), None)
    if other is None:
        return None
    numbers = [_number(cells.get(other, "")) for _, cells in rows]
    if any(number is None or number <= 0 for number in numbers):
        return None
    column = _Column(other, used.factor)
    return str(column), np.array(numbers, dtype=float) * column.factor


def _positive(text: str, column: _Column, where: str) -> float:
    number = _number(text)
    if number is None or not 0 < number * column.factor < MOST:
        raise InputError(f"{column.name} is {text or 'missing'}", where=where, expected="a positive number, like 6.9e9 or 6.9B")
    return number * column.factor


def _number(text: str) -> float | None:
    """A number as people write it: 7e9, 1,400,000, 70M or 70m, 85.3%; None if it is none."""
    match = _NUMBER.fullmatch(_THOUSANDS.sub("", text.strip()))
    if match is None:
        return None
    number = float(match.group(1)) * MULTIPLES[match.group(2).upper().removesuffix("%")]
    return number if math.isfinite(number) else None

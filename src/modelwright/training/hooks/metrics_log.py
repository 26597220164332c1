"""The metrics log: `metrics.jsonl`, one row each so often and one an evaluation."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TextIO

from modelwright.core.run import disk_errors, write_atomic
from modelwright.training.hook import Hook, StepInfo
from modelwright.training.memory import peak_bytes, used_bytes


class MetricsLog(Hook):
    """Appends rows of step, progress, loss, learning rate, speed and memory (in bytes) to a file.

    A run that is resumed drops the rows past the step it goes on from, so that no step is there twice.

    Args:
        path: the file.
        rows: about how many training rows a whole run gets.
    """

    def __init__(self, path: Path, rows: int = 200) -> None:
        self._path, self._rows, self._last = path, rows, -1
        self._file: TextIO | None = None

    def on_start(self, info: StepInfo) -> None:
        """Open the file for appending.

        Raises:
            InputError: the disk is full or not writable.
        """
        if self._path.exists():
            write_atomic(self._path, "".join(kept_rows(self._path, info.step)))
        with disk_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")
        self._last = int(info.progress * self._rows)

    def on_step(self, info: StepInfo) -> None:
        """Write a row if the next share of the run is reached."""
        part = int(info.progress * self._rows)
        if part > self._last:
            self._last = part
            self._write(info)

    def on_evaluation(self, info: StepInfo) -> None:
        """Write a row with the metrics."""
        self._write(info)

    def on_end(self, info: StepInfo) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, info: StepInfo) -> None:
        assert self._file is not None, "the run has not started"
        row: dict[str, Any] = {
            "step": info.step,
            "epoch": round(info.epoch, 4),
            "progress": round(info.progress, 6),
            "seconds": round(info.seconds, 3),
            "samples": info.samples,
            "loss": info.loss,
            "learning_rate": info.learning_rate,
            "grad_norm": info.grad_norm,
        }
        if info.speed is not None:
            row |= info.speed.to_row() | {"memory": used_bytes(), "peak_memory": peak_bytes()}
        if info.metrics is not None:
            row["metrics"] = {name: _finite(value) for name, value in info.metrics.items()}
        row = {name: _finite(value) for name, value in row.items()}
        with disk_errors(self._path):
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()


def kept_rows(path: Path, step: int) -> list[str]:
    """The whole rows of a log up to a step, with their line ends; a half-written row is dropped."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                rows.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    return rows if step > 0 else []


def _finite(value: Any) -> Any:
    """None, JSON's null, in the place of NaN and the infinities, which JSON lacks."""
    return None if isinstance(value, float) and not math.isfinite(value) else value

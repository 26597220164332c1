"""TensorBoard: loss, learning rate, gradient, metrics, speed, memory, time left and the forecast of the final loss as event files."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from modelwright.core.disk import disk_errors
from modelwright.planning.final_loss import foretell
from modelwright.training.hook import Hook, StepInfo
from modelwright.training.memory import peak_bytes, used_bytes
from modelwright.training.schedule import Schedule

FORECASTS = 50
"""Forecasts of the final loss that a whole run gets."""


class TensorBoard(Hook):
    """Writes scalars with TensorBoard's own event writer; without the package, says so once and does nothing.

    Args:
        folder: of the event files.
        rows: about how many training points a whole run gets.
        notice: called with one line when the package is missing.
        schedule: of the learning rate; with it, the final loss is foretold now and then.
    """

    def __init__(self, folder: Path, rows: int = 500, notice: Any = None, schedule: Schedule | None = None) -> None:
        self._folder, self._rows, self._notice, self._last = folder, rows, notice, -1
        self._writer: Any = None
        self._schedule, self._curve, self._foretold = schedule, [], 0.0

    def on_start(self, info: StepInfo) -> None:
        """Open an event file; of a resumed run, the points past the step it goes on from are void."""
        try:
            # Not torch.utils.tensorboard: importing it takes seconds where TensorFlow is installed too.
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            if self._notice is not None:
                self._notice("No TensorBoard files: install them with pip install 'modelwright[board]'.")
            return
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._writer = EventFileWriter(str(self._folder))
        if info.step:
            log = SessionLog(status=SessionLog.START)
            self._writer.add_event(Event(wall_time=time.time(), step=info.step + 1, session_log=log))
        self._last = int(info.progress * self._rows)

    def on_step(self, info: StepInfo) -> None:
        """Write the training scalars if the next share of the run is reached."""
        part = int(info.progress * self._rows)
        if self._writer is not None and part > self._last:
            self._last = part
            values = {"loss": info.loss, "learning_rate": info.learning_rate, "grad_norm": info.grad_norm}
            self._write(info.step, {f"train/{name}": value for name, value in values.items()})
            if info.speed is not None:
                machine = info.speed.to_row() | {"memory": used_bytes(), "peak_memory": peak_bytes()}
                machine["seconds_left"] = info.seconds * (1 - info.progress) / info.progress if info.progress else math.nan
                self._write(info.step, {f"machine/{name}": value for name, value in machine.items()})
            self._foretell(info)

    def on_evaluation(self, info: StepInfo) -> None:
        """Write the metrics."""
        if self._writer is not None:
            self._write(info.step, {f"validation/{name}": value for name, value in (info.metrics or {}).items()})

    def on_end(self, info: StepInfo) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _foretell(self, info: StepInfo) -> None:
        """Write what loss the run is heading for, whenever another part of it is done."""
        self._curve.append((info.progress, info.loss))
        if self._schedule is None or info.progress < self._foretold + 1 / FORECASTS:
            return
        self._foretold = info.progress
        forecast = foretell(*zip(*self._curve, strict=True), schedule=self._schedule, epochs=info.epoch / info.progress)
        if forecast is not None:
            self._write(
                info.step,
                {"forecast/final_loss": forecast.value, "forecast/final_loss_low": forecast.low, "forecast/final_loss_high": forecast.high},
            )

    def _write(self, step: int, scalars: dict[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items() if math.isfinite(value)]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

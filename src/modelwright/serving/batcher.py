"""The batcher: predicts for several who ask at the same time in one pass of the network (dynamic batching)."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch

from modelwright.core.errors import ModelwrightError
from modelwright.data.examples import Examples
from modelwright.serving.engine import BusyError, ClosedError
from modelwright.serving.predictor import Predictor

Rows = list[dict[str, Any]]


@dataclass(eq=False, slots=True)
class _Asked:
    """Examples that somebody waits for, and where their predictions go."""

    examples: Examples
    answer: Future[Rows] = field(default_factory=Future)


class Batcher:
    """Predicts in a thread of its own: while a batch is computed the next one gathers, so that nobody waits for others who may not come.

    Args:
        predictor: what predicts; nobody else may use it meanwhile.
        rows: the most examples in a batch, but for a single one who asks for more.
        queue: the most examples that wait.
    """

    def __init__(self, predictor: Predictor, *, rows: int, queue: int) -> None:
        self.rows, self.queue = rows, queue
        self._predictor = predictor
        self._waiting: deque[_Asked] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.batches, self.rows_predicted, self.running = 0, 0, 0
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many examples wait."""
        return sum(len(one.examples) for one in list(self._waiting))

    def submit(self, examples: Examples) -> Future[Rows]:
        """Ask for the predictions of typed examples; a future that is cancelled in time costs nothing.

        Raises:
            BusyError: too many examples wait.
            ClosedError: the batcher was closed.
        """
        with self._changed:
            if self._closed:
                raise ClosedError("The server is shutting down")
            waiting = self.waiting
            if waiting and waiting + len(examples) > self.queue:
                raise BusyError(f"{waiting:,} examples wait already, and {self.queue:,} may")
            asked = _Asked(examples)
            self._waiting.append(asked)
            self._changed.notify()
        return asked.answer

    def close(self) -> None:
        """Take nothing more, and give up what waits; returns when the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        torch.set_flush_denormal(True)
        with suppress(RuntimeError):  # where memory doesn't suffice for a full batch it may do so for smaller ones
            self._predictor.warm_up(self.rows)
        while batch := self._next():
            self._predict(batch)
        while self._waiting:
            answer = self._waiting.popleft().answer
            if answer.set_running_or_notify_cancel():
                answer.set_exception(ClosedError("The server is shutting down"))

    def _next(self) -> list[_Asked]:
        """Those who are predicted for together next; none when the batcher is closed."""
        with self._changed:
            while True:
                while not (self._waiting or self._closed):
                    self._changed.wait()
                if self._closed:
                    return []
                batch, rows = [], 0
                while self._waiting and (not batch or rows + len(self._waiting[0].examples) <= self.rows):
                    asked = self._waiting.popleft()
                    if asked.answer.set_running_or_notify_cancel():
                        batch.append(asked)
                        rows += len(asked.examples)
                if batch:
                    self.running = rows
                    return batch

    def _predict(self, batch: list[_Asked]) -> None:
        try:
            predicted = self._predictor.predict(Examples.concat([asked.examples for asked in batch]))
        except Exception as error:  # memory may run out; those who asked are told, and the next are served
            reason = str(error) if isinstance(error, ModelwrightError) else f"the prediction failed ({type(error).__name__})"
            for asked in batch:
                asked.answer.set_exception(ModelwrightError(reason))
            return
        finally:
            self.running = 0
        self.batches += 1
        self.rows_predicted += len(predicted)
        for asked in batch:
            count = len(asked.examples)
            asked.answer.set_result(predicted[:count])
            predicted = predicted[count:]

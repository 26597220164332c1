"""The pace: a budget turned into steps, so that progress goes from 0 to 1 within it and the schedule always reaches its end.

A budget of epochs, steps, samples, tokens or FLOPs is a fixed number of steps, and progress is exact. A budget of seconds is a deadline:
the number of steps is planned from the measured time of a step, of an evaluation and of a checkpoint, and planned again as the run goes on;
progress continues from where it is, so it never jumps or falls.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from modelwright.core.errors import InputError

Clock = Callable[[], float]
"""A monotonic clock, in seconds."""

MARGIN = 0.01
"""Share of the time that a timed run leaves unused, against noise."""
REPLAN = 0.05
"""Share of the time left after which the number of steps is planned again."""
SHORTEST_MEMORY = 3
"""Steps of the past that weigh as much as a new one of as many steps, near the end of a run."""
CAUTION = 1.5
"""How much dearer than its work says the first evaluation is taken to be."""
DEAREST_GUESS = 0.2
"""Share of a run that the estimate of an evaluation may reach."""
FIRST_STEP = 4.0
"""How much longer than the others the first step is taken to be."""
FIRST_GUESS = 1000
"""Steps of a timed run as long as no step has been timed."""


class Evaluations(NamedTuple):
    """How often a run is evaluated.

    Attributes:
        number: evaluations over the run at most, the one at its end included.
        share: of the run that they may take at most.
        steps: what one costs, in training steps, as far as it is known beforehand.
    """

    number: int = 20
    share: float = 0.08
    steps: float = 0.0

    def spacing(self, cost: float) -> float:
        """Progress between two evaluations that cost this share of the run each."""
        return max(1.0 / self.number, cost / self.share)


class Pace(Protocol):
    """How far a run is, when an evaluation is due, and when it is over."""

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, as planned now."""
        ...

    def begin(self, step: int) -> None:
        """The run goes on at `step`."""

    def progress(self, step: int) -> float:
        """The share of the run that is done before `step`, in 0..1."""
        ...

    def finished(self, step: int) -> bool:
        """Whether nothing is left for `step`."""
        ...

    def stepped(self, step: int) -> None:
        """A step has ended, and `step` are done."""

    def evaluation_due(self, step: int, last: float) -> bool:
        """Whether to evaluate after `step` steps, where the last evaluation was at progress `last`; the one at the end is never due."""
        ...

    def evaluated(self) -> None:
        """An evaluation has ended."""

    def saved(self) -> None:
        """A checkpoint has been written."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""


class FixedPace:
    """A fixed number of steps: resumable to the same bits."""

    def __init__(self, total_steps: int, evaluations: Evaluations | None = None) -> None:
        self.total_steps, self._evaluations = total_steps, evaluations

    def begin(self, step: int) -> None:
        """Nothing to do."""

    def progress(self, step: int) -> float:
        """`step / total_steps`."""
        return step / self.total_steps

    def finished(self, step: int) -> bool:
        """Whether all steps are done."""
        return step >= self.total_steps

    def stepped(self, step: int) -> None:
        """Nothing to do."""

    def evaluation_due(self, step: int, last: float) -> bool:
        """Whether the spacing is reached; costs are counted, not timed, so that two runs of a recipe evaluate at the same steps."""
        if self._evaluations is None:
            return False
        return _due(self.progress(step), last, self._evaluations.spacing(self._evaluations.steps / self.total_steps))

    def evaluated(self) -> None:
        """Nothing to do."""

    def saved(self) -> None:
        """Nothing to do."""

    def state(self) -> dict[str, Any]:
        """The number of steps."""
        return {"total_steps": self.total_steps}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing to do: the recipe says the same.

        Raises:
            InputError: the checkpoint is of a run of another length.
        """
        if state.get("total_steps") != self.total_steps:
            raise InputError(
                f"the checkpoint is of a run of {state.get('total_steps')} steps, but the recipe asks for {self.total_steps}",
                remedy="Resume with the budget, the data and the batch size that the run was started with",
            )


class TimedPace:
    """As many steps as fit before a deadline.

    Args:
        deadline: time of `clock` at which the run must have ended, its last evaluation included.
        clock: monotonic, in seconds.
        evaluations: how often the run is evaluated; None for never.
        save_interval: seconds between two checkpoints.
        spent: seconds of the budget that were used up before, by the part of the run that is resumed.
        most_steps: steps after which the run ends although there is time left.
    """

    def __init__(
        self,
        deadline: float,
        clock: Clock = time.monotonic,
        *,
        evaluations: Evaluations | None = None,
        save_interval: float = math.inf,
        spent: float = 0.0,
        most_steps: int = sys.maxsize,
    ) -> None:
        self.deadline, self._clock, self._evaluations, self._save_interval = deadline, clock, evaluations, save_interval
        self._duration = max(deadline - clock(), 1e-9) + spent
        self._mark = clock()
        self._most = most_steps
        self._start, self._start_progress, self._total = 0, 0.0, min(FIRST_GUESS, most_steps)
        self._step_seconds: float | None = None
        self._last_seconds = 0.0
        self._window_steps, self._window_seconds = 0, 0.0
        self._evaluation_seconds = self._save_seconds = 0.0
        self.replans: list[tuple[int, float, int]] = []

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, as planned now."""
        return self._total

    def begin(self, step: int) -> None:
        """Start timing; after a pause, plan for the time that is left."""
        self._mark = self._clock()
        if self._step_seconds is not None:
            self._plan(step)

    def progress(self, step: int) -> float:
        """From the progress at the last planning, evenly to 1 at the planned end."""
        share = (step - self._start) / max(1, self._total - self._start)
        return min(1.0, self._start_progress + (1.0 - self._start_progress) * share)

    def finished(self, step: int) -> bool:
        """Whether all planned steps are done, or another one would not end in time."""
        if step >= self._total:
            return True
        next_seconds = max(self._step_seconds or 0.0, self._last_seconds)
        return self._clock() + 1.2 * next_seconds + self._closing_seconds() > self.deadline - 0.5 * MARGIN * self._duration

    def stepped(self, step: int) -> None:
        """Count the step's time, and plan again when enough time went by."""
        self._last_seconds = self._lap()
        self._window_steps += 1
        self._window_seconds += self._last_seconds
        if step >= self._total:
            return
        left = self.deadline - self._mark
        early = self._step_seconds is None or self._window_steps >= step - self._window_steps
        if early or self._window_seconds > REPLAN * left:
            self._learn(step)
            self._plan(step)

    def evaluation_due(self, step: int, last: float) -> bool:
        """Whether the spacing is reached, and this one and the one at the end fit before the deadline."""
        if self._evaluations is None or self._clock() + 2.2 * self._evaluation_cost() > self.deadline:
            return False
        return _due(self.progress(step), last, self._spacing(self._evaluations))

    def evaluated(self) -> None:
        """Remember what an evaluation costs."""
        self._evaluation_seconds = self._lap()

    def saved(self) -> None:
        """Remember what a checkpoint costs."""
        self._save_seconds = self._lap()

    def state(self) -> dict[str, Any]:
        """All plans that were made, and the measurements that the next one starts from."""
        return {
            "replans": [list(plan) for plan in self.replans],
            "step_seconds": self._step_seconds,
            "evaluation_seconds": self._evaluation_seconds,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from the last plan."""
        self.replans = [(int(step), float(progress), int(total)) for step, progress, total in state["replans"]]
        if self.replans:
            self._start, self._start_progress, self._total = self.replans[-1]
        self._step_seconds, self._evaluation_seconds = state["step_seconds"], state["evaluation_seconds"]

    def _spacing(self, evaluations: Evaluations) -> float:
        run = min(self._duration, self._most * (self._step_seconds or self._duration))
        return evaluations.spacing(self._evaluation_cost() / run)

    def _closing_seconds(self) -> float:
        """What the evaluation and the checkpoint at the end may take."""
        return 1.1 * (self._evaluation_cost() + self._save_seconds)

    def _evaluation_cost(self) -> float:
        """Seconds of the last evaluation; before the first one an estimate by its work, which is too rough to give it much of the run."""
        if self._evaluations is None or self._evaluation_seconds > 0.0:
            return self._evaluation_seconds
        return min(CAUTION * self._evaluations.steps * (self._step_seconds or 0.0), DEAREST_GUESS * self._duration)

    def _lap(self) -> float:
        """Seconds since the last lap."""
        now = self._clock()
        seconds, self._mark = now - self._mark, now
        return seconds

    def _learn(self, step: int) -> None:
        """Blend the window's mean time of a step into the estimate, by how many steps it is of; one long step alone says little."""
        mean = self._window_seconds / self._window_steps
        if self._step_seconds is None:
            # The first step is slow by nature. Taken too long, it would make the second one a large part of the run, for good.
            self._step_seconds = mean / FIRST_STEP
        elif step == 2:
            self._step_seconds = mean
        else:
            memory = max(SHORTEST_MEMORY, REPLAN * (self._total - step))
            weight = self._window_steps / (self._window_steps + memory)
            self._step_seconds += weight * (mean - self._step_seconds)
        self._window_steps, self._window_seconds = 0, 0.0

    def _plan(self, step: int) -> None:
        """Choose the total so that all steps, evaluations and checkpoints end in time."""
        step_seconds = max(self._step_seconds or 0.0, 1e-9)
        progress = self.progress(step)
        left = self.deadline - self._mark - max(MARGIN * self._duration, step_seconds) - self._closing_seconds()
        if self._evaluations is not None:
            left -= max(0, math.ceil((1.0 - progress) / self._spacing(self._evaluations)) - 1) * self._evaluation_cost()
        left *= 1.0 - self._save_seconds / (self._save_seconds + self._save_interval)
        self._start, self._start_progress = step, progress
        self._total = max(step, min(step + int(left / step_seconds), self._most))
        self.replans.append((step, progress, self._total))


def _due(progress: float, last: float, spacing: float) -> bool:
    """Whether `spacing` has gone by since the last evaluation, and the one at the end is not near."""
    return progress - last >= spacing - 1e-9 and progress < 1.0 - 0.5 * spacing

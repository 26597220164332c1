"""Running the rungs of a ladder, one after the other or several at once, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from modelwright.core.disk import disk_errors, write_atomic
from modelwright.core.errors import DivergedError
from modelwright.core.units import format_count
from modelwright.data.dataset import Dataset
from modelwright.training.machine import prepare_machine
from modelwright.workflows.job import read
from modelwright.workflows.recipe import Recipe, load_recipe
from modelwright.workflows.reporter import Reporter, steps_bar
from modelwright.workflows.rung_jobs import threads_of
from modelwright.workflows.rungs import Climb, Rung, RungResult, judged_on, sized

TELL_SECONDS = 1.0
"""Between two looks at how far the processes are."""


def climb_all(
    folder: Path, rungs: list[Rung], recipe: Recipe, dataset: Dataset, judged: int | None, jobs: int, reporter: Reporter
) -> list[RungResult]:
    """Train all rungs that aren't trained yet; one whose training diverges is left out.

    Args:
        folder: of the ladder; `recipe.yaml` lies in it.
        rungs: the smallest first.
        recipe: of the ladder.
        dataset: what is learnt.
        judged: examples of the validation split on which they are judged; None for all.
        jobs: processes at once; 1 trains in this one.
        reporter: whom to show the progress.

    Raises:
        RunInterrupted: the user asked to stop; everything is saved.
    """
    total = sum(rung.all_steps * rung.flops for rung in rungs)
    with steps_bar(reporter, " rungs    ") as bar:
        if jobs == 1:
            return _in_turn(folder, rungs, recipe, judged_on(dataset, judged), reporter, lambda done: bar(int(1000 * done / total), 1000))
        return _at_once(folder, rungs, judged, jobs, reporter, lambda done: bar(int(1000 * done / total), 1000))


def _in_turn(
    folder: Path, rungs: list[Rung], recipe: Recipe, dataset: Dataset, reporter: Reporter, tell: Callable[[float], None]
) -> list[RungResult]:
    results: list[RungResult] = []
    before = 0.0
    for rung in rungs:
        told = _Counter(rung, lambda done, base=before: tell(base + done))
        with _diverged_left_out(rung, reporter):
            results += Climb(_home(folder, rung), rung, sized(recipe, rung.config(recipe)), dataset, told).run()
        before += rung.all_steps * rung.flops
        tell(before)
    return results


def _at_once(
    folder: Path, rungs: list[Rung], judged: int | None, jobs: int, reporter: Reporter, tell: Callable[[float], None]
) -> list[RungResult]:
    """In processes; the largest first, so that none is left alone at the end."""
    order = deque(sorted(rungs, key=lambda rung: -rung.seconds))
    threads = threads_of(jobs)
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_set_apart)
    waiting: dict[Future[list[RungResult]], Rung] = {}
    results: dict[str, list[RungResult]] = {}
    try:
        while order or waiting:
            # No more than are trained, so that an interruption finds none that hasn't begun.
            with _script_left_alone():
                while order and len(waiting) < jobs:
                    rung = order.popleft()
                    waiting[pool.submit(_climb, folder, rung, judged, threads)] = rung
            done, _ = wait(waiting, timeout=TELL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                rung = waiting.pop(future)
                with _diverged_left_out(rung, reporter):
                    results[rung.name] = future.result()
            tell(sum(_steps_done(_home(folder, rung)) * rung.flops for rung in rungs))
        return [row for rung in rungs for row in results.get(rung.name, [])]
    except BaseException:
        for process in multiprocessing.active_children():
            if process.pid is not None:
                os.kill(process.pid, signal.SIGINT)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _diverged_left_out(rung: Rung, reporter: Reporter) -> Iterator[None]:
    """The law does without a rung whose training diverges, and who reads is told."""
    try:
        yield
    except DivergedError as error:
        reporter.say("note", f"the rung of {format_count(rung.params)} parameters is left out: {error}")


@contextmanager
def _script_left_alone() -> Iterator[None]:
    """Processes that start meanwhile don't run the script of this one again, as they would to know its functions; it may have no guard."""
    script = sys.modules["__main__"]
    kept = {name: script.__dict__[name] for name in ("__file__", "__spec__") if name in script.__dict__}
    script.__dict__.update(dict.fromkeys(kept))
    try:
        yield
    finally:
        script.__dict__.update(kept)


def _set_apart() -> None:
    """Begin a process: it hears of an interruption from its parent alone, and once, as the second one doesn't wait until all is saved; and it
    ends with its parent, however that does.
    """
    os.setpgrp()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _climb(folder: Path, rung: Rung, judged: int | None, threads: int) -> list[RungResult]:
    """One rung, in a process of its own."""
    prepare_machine()
    torch.set_num_threads(threads)
    recipe = load_recipe(folder / "recipe.yaml")
    dataset = judged_on(_dataset(folder), judged)
    home = _home(folder, rung)
    last = time.monotonic()

    def note(steps: float) -> None:
        nonlocal last
        if time.monotonic() - last > TELL_SECONDS:
            write_atomic(home / "steps", str(int(steps / rung.flops)))
            last = time.monotonic()

    results = Climb(home, rung, sized(recipe, rung.config(recipe)), dataset, _Counter(rung, note)).run()
    write_atomic(home / "steps", str(rung.all_steps))
    return results


@cache
def _dataset(folder: Path) -> Dataset:
    """Read once by a process, whatever rungs it trains."""
    return read(load_recipe(folder / "recipe.yaml"), Reporter())


class _Counter:
    """Adds steps up, and tells the FLOPs they stand for, in examples of one."""

    def __init__(self, rung: Rung, tell: Callable[[float], None]) -> None:
        self._rung, self._tell, self._steps = rung, tell, 0

    def __call__(self, steps: int) -> None:
        self._steps += steps
        self._tell(min(self._steps, self._rung.all_steps) * self._rung.flops)


def _home(folder: Path, rung: Rung) -> Path:
    path = folder / "rungs" / rung.name
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def _steps_done(home: Path) -> int:
    try:
        return int((home / "steps").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0

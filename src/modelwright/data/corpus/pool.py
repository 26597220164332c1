"""A pool of processes that work on tasks, one task each at a time; they end when the process that started them does, however it ends.

Each is a fresh interpreter that imports this package and nothing of the caller's program, so that scripts need no guard around their main part.
Tasks and results go through its standard input and output.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from modelwright.core.errors import ModelwrightError

PACKAGE_HOME = str(Path(__file__).resolve().parents[3])
"""The folder that this package is imported from."""
Work = Callable[..., Any]
"""A function on the top level of a module: called with a task and a function that is told of progress."""


class Pool:
    """Processes that share tasks out among themselves.

    Args:
        processes: how many; with one, this process does the work itself.
        kept: a file descriptor that they inherit and keep open while they live.
    """

    def __init__(self, processes: int, kept: int | None = None) -> None:
        assert processes > 0
        self._size, self._kept = processes, kept
        self._started: list[subprocess.Popen[bytes]] = []
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self._failure: BaseException | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._started:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                # What a task left in the buffer can't be sent any more.
                with suppress(BrokenPipeError):
                    if stream is not None:
                        stream.close()

    def map(self, work: Work, tasks: Sequence[Any], progress: Callable[[int], None]) -> Iterator[Any]:
        """The results of `work(task, progress)` in the order of the tasks.

        Args:
            work: what to do, the same with any number of processes.
            tasks: pickled on their way, as the results are on theirs.
            progress: is told the numbers that `work` tells, from several threads, one at a time.

        Raises:
            ModelwrightError: a process ended before its time.
            RuntimeError: the work failed; with the traceback.
            Exception: what `progress` raised.
        """
        if self._size == 1 or len(tasks) < 2:
            yield from (work(task, progress) for task in tasks)
            return
        while len(self._started) < min(self._size, len(tasks)):
            self._started.append(start(self._kept))
            self._idle.put(self._started[-1])
        lock = threading.Lock()

        def told(number: int) -> None:
            with lock:
                progress(number)

        executor = ThreadPoolExecutor(len(self._started))
        try:
            futures: list[Future[Any]] = [executor.submit(self._run, work, task, told) for task in tasks]
            for future in futures:
                # A wait without a limit would not let an interrupt through on every system.
                while not future.done():
                    wait_for([future], timeout=0.5)
                yield future.result()
        finally:
            # Threads still wait for their processes, which `__exit__` ends.
            executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, work: Work, task: Any, progress: Callable[[int], None]) -> Any:
        process = self._idle.get()
        try:
            if self._failure is not None:
                raise self._failure
            kind, value = _converse(process, (work, task), progress)
        except BaseException as error:
            # What it still sends belongs to this task. Whoever waits for an idle process gets this one and fails too, rather than wait for ever.
            self._failure = self._failure or error
            process.kill()
            raise
        finally:
            self._idle.put(process)
        if kind == "error":
            raise value
        return value


def _converse(process: subprocess.Popen[bytes], order: tuple[Work, Any], progress: Callable[[int], None]) -> tuple[str, Any]:
    """Send a process its task, pass its progress on, and give its last answer.

    Raises:
        ModelwrightError: it ended before its time.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    content = pickle.dumps(order)
    with _ends_noticed():
        process.stdin.write(content)
        process.stdin.flush()
    while True:
        with _ends_noticed():
            kind, value = pickle.load(process.stdout)
        if kind != "progress":
            return kind, value
        progress(value)


@contextmanager
def _ends_noticed() -> Iterator[None]:
    """Turn what comes of talking to a process that is gone into a `ModelwrightError`."""
    try:
        yield
    except (EOFError, OSError, pickle.UnpicklingError, ValueError):
        raise ModelwrightError(
            "A working process ended before its time, perhaps for lack of memory. What is done is kept: go on with --resume, and fewer --processes."
        ) from None


def start(kept: int | None = None) -> subprocess.Popen[bytes]:
    """A process that serves. It imports from where this one does, but never from whatever folder it is started in."""
    paths = dict.fromkeys([*filter(None, sys.path), PACKAGE_HOME])
    settings = {
        "TOKENIZERS_PARALLELISM": "false",
        "RAYON_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(paths),
    }
    command = [sys.executable, "-P", "-c", "from modelwright.data.corpus.pool import serve; serve()"]
    inherited = () if kept is None else (kept,)
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **settings}, pass_fds=inherited)


def _end_with(parent: int) -> None:
    """End this process, whatever it is doing, as soon as `parent` is not its parent any more."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def serve() -> None:
    """Work on the tasks that come in on standard input, until it ends."""
    # An interrupt from the keyboard reaches all processes; the one that started this one decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def answer(kind: str, value: Any) -> None:
        try:
            pickle.dump((kind, value), answers)
            answers.flush()
        except BrokenPipeError:
            # Nobody waits for the answer any more. What is under way must not take this for a fault of its own.
            os._exit(1)

    while True:
        try:
            work, task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer("result", work(task, lambda number: answer("progress", number)))
        except ModelwrightError as error:
            answer("error", error)
        except Exception as error:
            import traceback

            answer("error", RuntimeError(f"{error!r} in a working process:\n{traceback.format_exc()}"))

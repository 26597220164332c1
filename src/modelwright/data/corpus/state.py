"""State: the folder in which a preparation works until it is finished, and what it is a preparation of.

`<output>.partial` holds one file or folder for each stage that is done (each is written aside and renamed), and `state.json`, which tells what
configuration and inputs they come from. At the end the corpus in it is renamed to `<output>`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from modelwright.core.disk import disk_errors, write_atomic
from modelwright.core.errors import InputError
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.inputs import InputFile

LAYOUT = 1
"""Of the work folder; another one can't be gone on with."""
STATE = "state.json"
PATIENCE = 30.0
"""Seconds that processes of a killed preparation are waited for."""


def work_folder(output: Path) -> Path:
    """Where the work for `output` is done."""
    return output.with_name(f"{output.name}.partial")


def describe(files: Sequence[InputFile], config: CorpusConfig) -> dict[str, Any]:
    """What a preparation is of: layout, configuration, and path, size and time of change of every input."""
    return {
        "layout": LAYOUT,
        "config": config.to_json(),
        "inputs": [[str(Path(file.path).resolve()), file.name, file.size, file.modified] for file in files],
    }


def digest_of_inputs(state: dict[str, Any]) -> str:
    """A digest of the inputs that `describe` described."""
    return hashlib.blake2b(json.dumps(state["inputs"]).encode(), digest_size=16).hexdigest()


@contextmanager
def locked(work: Path) -> Iterator[int | None]:
    """Hold the work folder against other processes.

    Yields the lock's file descriptor, for working processes to inherit: the folder is held until the last of them has ended, even if the process
    that started them is killed; None where there are no such locks.

    Raises:
        InputError: another process works in it.
    """
    try:
        import fcntl
    except ImportError:
        yield None
        return
    with (work / "lock").open("a+") as file:
        waited = 0.0
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                # Working processes of one that was killed end within a moment.
                if _is_alive(file) or waited >= PATIENCE:
                    raise InputError("another process is preparing this corpus", where=work, remedy="Wait for it, or stop it") from None
                time.sleep(0.1)
                waited += 0.1
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def _is_alive(lock: IO[str]) -> bool:
    """Whether the process that wrote its number into a lock is there."""
    lock.seek(0)
    number = lock.read().strip()
    try:
        os.kill(int(number), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


def begin(output: Path, state: dict[str, Any], *, resume: bool) -> Path:
    """The work folder, ready to be worked in.

    Raises:
        InputError: something is in the way, or the work there is of another configuration or other inputs.
    """
    work = work_folder(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError("exists already", where=output, remedy="Choose another place with --output, or remove it")
    with disk_errors(work):
        if work.exists() and (not work.is_dir() or (any(work.iterdir()) and not (work / STATE).is_file())):
            raise InputError("is no work folder of a preparation, but stands where one is needed", where=work, remedy="Move it away")
        if (work / STATE).is_file():
            if not resume:
                raise InputError("holds an interrupted preparation", where=work, remedy="Go on with --resume, or remove the folder")
            _same(work, state)
        else:
            work.mkdir(parents=True, exist_ok=True)
            write_atomic(work / STATE, json.dumps(state, ensure_ascii=False, indent=1))
    return work


def _same(work: Path, state: dict[str, Any]) -> None:
    """See that the work in a folder is that of `state`.

    Raises:
        InputError: it is of something else; names what has changed.
    """
    try:
        known = json.loads((work / STATE).read_text(encoding="utf-8"))
        changed = [key for key in state if known[key] != json.loads(json.dumps(state[key]))]
    except (ValueError, KeyError, TypeError):
        raise InputError("is damaged", where=work / STATE, remedy=f"Remove {work} and begin again") from None
    if not changed:
        return
    what = {"layout": "was made by another version", "config": "has other settings", "inputs": "is of other inputs, or they have changed"}
    found = f"the interrupted preparation {what[changed[0]]}"
    if changed[0] == "config":
        found += f" ({', '.join(key for key in state['config'] if known['config'].get(key) != state['config'][key])})"
    raise InputError(found, where=work, remedy="Give the same as then, or remove the folder and begin again")


def sweep(folder: Path) -> None:
    """Make `folder`, and take away what a killed process left half written in it."""
    folder.mkdir(exist_ok=True)
    for left in folder.glob(".*"):
        shutil.rmtree(left, ignore_errors=True)

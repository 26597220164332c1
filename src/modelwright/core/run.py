"""The run folder: everything that a run made lies in it, written so that nothing is ever half there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

from modelwright.core.disk import disk_errors, write_atomic, written_aside
from modelwright.core.errors import InputError, RunInterrupted
from modelwright.core.ledger import Ledger

__all__ = ["Run", "disk_errors", "write_atomic", "written_aside"]


class Run:
    """A run folder. `Run.create` makes a new one, `Run.open` takes an existing one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, name: str, output: Path | None = None) -> Run:
        """Make the folder `output`, or `runs/<date>-<name>` with a number if that is taken.

        Raises:
            InputError: `output` exists and is not an empty folder, or can't be made.
        """
        if output is None:
            stem = f"{date.today().isoformat()}-{re.sub(r'[^A-Za-z0-9._]+', '-', name).strip('-.')}"
            return cls(claim(Path("runs"), stem))
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise InputError(
                "the run folder exists and is not empty",
                where=output,
                remedy="Choose another --output, or go on with that run by --resume",
            )
        with disk_errors(output):
            output.mkdir(parents=True, exist_ok=True)
        return cls(output)

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """The run at `path`.

        Raises:
            InputError: there is no run folder there.
        """
        path = Path(path)
        if not any((path / name).is_file() for name in ("recipe.yaml", "comparison.json")):
            raise InputError(
                "is no run folder" if path.exists() else "does not exist", where=path, expected="a folder made by train or build"
            )
        return cls(path)

    @property
    def recipe(self) -> Path:
        """The resolved, complete recipe."""
        return self.path / "recipe.yaml"

    @property
    def state(self) -> Path:
        """What a resumed run must know: the data's digest, what was decided before training."""
        return self.path / "run.json"

    @property
    def comparison(self) -> Path:
        """The trials of a build, and what it was asked for."""
        return self.path / "comparison.json"

    @property
    def standings(self) -> Path:
        """What a search came to: its trials, the best one first."""
        return self.path / "trials.json"

    @property
    def winner(self) -> Run:
        """The run of what a search recommends, where that is trained at once."""
        return Run(self.path / "run")

    @property
    def samples(self) -> Path:
        """What a language model wrote at each evaluation, a JSON row each."""
        return self.path / "samples.jsonl"

    @property
    def metrics(self) -> Path:
        """One JSON row a log step."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def bundle(self) -> Path:
        """Folder of the bundle, alone enough to predict."""
        return self.path / "model"

    @property
    def start(self) -> Path:
        """Folder of the bundle that training began with, where it didn't begin with fresh weights."""
        return self.path / "start"

    @property
    def evaluation(self) -> Path:
        """What was measured on each split."""
        return self.path / "evaluation.json"

    @property
    def errors(self) -> Path:
        """The error of each example of the split that decides, kept when it was judged, so that runs can be compared on it."""
        return self.path / "errors.json"

    @property
    def findings(self) -> Path:
        """What a report found when it had data and model at hand."""
        return self.path / "findings.json"

    @property
    def report(self) -> Path:
        """The report, a page."""
        return self.path / "report.html"

    @property
    def quarantine(self) -> Path:
        """Examples set aside, with the reason."""
        return self.path / "quarantine.jsonl"

    @property
    def log(self) -> Path:
        """What the user was shown."""
        return self.path / "log.txt"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def ledger(self) -> Ledger:
        """Forecasts and measurements."""
        return Ledger(self.path / "ledger.jsonl")

    def lacks(self, what: str) -> InputError:
        """The error of whoever needs `what` of this run while it isn't there: why, and what to do."""
        if not self.standings.is_file():
            again = f"Go on with it: modelwright {self._verb()} --resume {self.path}"
            return InputError(f"has no {what}: the run is not finished", where=self.path, remedy=again)
        trained = self.winner.bundle.is_dir()
        remedy = f"Take its winner: {self.winner.path}" if trained else f"Train its winner: modelwright train {self.recipe}"
        return InputError(f"has no {what}: it is a search", where=self.path, remedy=remedy)

    def _verb(self) -> str:
        """What goes on with the run: the verb that compares until training begins."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            if not self.state.is_file():
                return str(json.loads(self.comparison.read_text(encoding="utf-8"))["verb"])
        return "train"

    def write_json(self, path: Path, value: Any) -> None:
        """Write `value` to `path` atomically, as JSON."""
        write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")

    @contextmanager
    def interruptible(self, verb: str, *, new: bool = True) -> Iterator[None]:
        """Leave nothing half-made: a `new` folder goes if wrong input or the user ends the block before there is anything to go on from.

        Wrong input may come late too, as a full disk: what was trained by then is kept.

        Raises:
            RunInterrupted: the user ended the block; the message says what to type to go on.
        """
        try:
            yield
        except InputError:
            if new and not self._holds_training():
                shutil.rmtree(self.path, ignore_errors=True)
            raise
        except (KeyboardInterrupt, RunInterrupted) as stop:
            if isinstance(stop, RunInterrupted) and self.state.exists():
                raise
            if self.state.exists() or self.comparison.exists():
                raise RunInterrupted(f"Interrupted. Go on with: modelwright {verb} --resume {self.path}") from None
            if new:
                shutil.rmtree(self.path, ignore_errors=True)
            raise RunInterrupted("Interrupted before there was anything to keep") from None

    def _holds_training(self) -> bool:
        """Whether a training was begun, or trials were compared."""
        if self.state.exists():
            return True
        try:
            return bool(json.loads(self.comparison.read_text(encoding="utf-8"))["trials"])
        except (OSError, ValueError, KeyError, TypeError):
            return False


def claim(parent: Path, stem: str) -> Path:
    """Make the first folder of `stem`, `stem-2`, `stem-3`, ... that nobody has, and that two runs started at once don't share."""
    with disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            path = parent / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return path
    raise AssertionError("counting ends only at a free name")

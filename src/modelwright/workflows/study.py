"""A study: the trials of a search in an Optuna storage, where several processes and machines can share them, and from where they go on."""

from __future__ import annotations

import importlib
import os
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from modelwright.core.errors import InputError, import_extra
from modelwright.core.randomness import derive
from modelwright.core.space import Choice, Dimension, Value
from modelwright.workflows.space import Space

JOURNAL = "journal:"
"""Scheme of a storage that is a file, which several processes can share and which needs no database."""
CHANGED = 3
"""Settings that a proposal near a good trial changes."""
ATTEMPTS = 5
"""How often it is tried to make the tables of a database."""
STALE_SECONDS = 5
"""After so long a lock on a journal is taken to be that of a process that was killed: writing a line takes milliseconds."""
LOCK_SECONDS = 60
"""How long a process waits for a file that another one writes, and for the plan of a study that another one begins."""


class TrialResult(BaseModel):
    """What a trial showed at a rung: after a short, complete training, on the validation split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rung: int
    """Which one, from 0."""
    seconds: float
    """What it could spend; what it took, where its recipe bounds the passes over the data."""
    steps: int
    samples_per_second: float
    flops: float
    """Of the whole training."""
    value: float
    """The primary metric."""
    low: float
    high: float
    """Its 95 % interval."""
    score: float
    """The value, turned so that more is better."""
    standard_error: float
    loss: float
    """Breaks ties between scores."""
    parameters: int
    size: int
    """Bytes of the weights."""
    latency: float
    """Seconds for one example."""
    errors: str = ""
    """What went wrong on each validation example, packed; see `pack` in `evaluation/comparison.py`."""


Prepare = Callable[["Study"], None]
State = Literal["waiting", "open", "stopped", "finished", "failed"]
"""Not begun; in training or between two rungs; hopeless; through all rungs; diverged or impossible."""


class Trial(BaseModel):
    """One configuration of one family, with its rungs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    label: str
    """How people tell it from others: `cnn`, `cnn x2`, `cnn 12`."""
    family: str
    settings: dict[str, Value]
    """By the keys of the family's space."""
    state: State
    owner: str
    """The process that trains it."""
    first_rung: int
    results: tuple[TrialResult, ...]

    @property
    def last(self) -> TrialResult | None:
        """The result of its longest rung."""
        return self.results[-1] if self.results else None

    @property
    def next_rung(self) -> int:
        """The rung that comes next."""
        return self.results[-1].rung + 1 if self.results else self.first_rung

    def at(self, rung: int) -> TrialResult | None:
        """What it showed at a rung."""
        return next((result for result in self.results if result.rung == rung), None)


class Study:
    """The trials of one search; `Study.create` begins one, `Study.join` takes part in it or goes on with it. Each sees what all processes write.

    Args:
        study: Optuna's.
        owner: name of this process; trials that it left open are its own again.
        seed: of what is proposed.
    """

    def __init__(self, study: Any, owner: str, seed: int) -> None:
        self._study, self.owner, self._seed = study, owner, seed
        self._optuna = _optuna()
        self.spaces: dict[str, Space] = {}

    @classmethod
    def create(
        cls, storage: str, name: str, plan: Mapping[str, Any], *, owner: str, maximize: bool, seed: int, prepare: Prepare | None = None
    ) -> Study | None:
        """A new study in a storage; None if another process has just begun it.

        Args:
            storage: an Optuna storage URL (`sqlite:///PATH`, `postgresql://...`), or `journal:PATH`.
            name: of the study.
            plan: what the study says about itself, ready for JSON.
            owner: name of this process.
            maximize: whether more of the value is better.
            seed: of what is proposed.
            prepare: is done before any other process can join.

        Raises:
            InputError: there is no such storage, or it can't be reached.
        """
        optuna = _optuna()
        with storage_errors(storage, ValueError, OSError):
            try:
                direction = "maximize" if maximize else "minimize"
                made = optuna.create_study(storage=_storage(optuna, storage), study_name=name, direction=direction)
            except optuna.exceptions.DuplicatedStudyError:
                return None
            study = cls(made, owner, seed)
            if prepare is not None:
                prepare(study)
            made.set_user_attr("plan", dict(plan))
        return study

    @classmethod
    def join(cls, storage: str, name: str, *, owner: str, seed: int) -> Study | None:
        """The study of that name; None if the storage has none.

        Raises:
            InputError: there is no such storage, it can't be reached, or the study was never planned.
        """
        optuna = _optuna()
        deadline = time.monotonic() + LOCK_SECONDS
        with storage_errors(storage, ValueError, OSError):
            place = _storage(optuna, storage)
            while True:
                try:
                    study = optuna.load_study(storage=place, study_name=name)
                except KeyError:
                    return None
                if "plan" in study.user_attrs:
                    return cls(study, owner, seed)
                if time.monotonic() > deadline:
                    raise InputError(f"the study {name!r} was begun, but never planned", remedy="Choose another --study")
                time.sleep(0.2)

    @property
    def plan(self) -> dict[str, Any]:
        """What the study says about itself: that of the process that began it."""
        return self._study.user_attrs["plan"]

    def trials(self) -> list[Trial]:
        """All trials, in the order in which they were proposed."""
        return [_trial(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def enqueue(self, family: str, settings: Mapping[str, Value], label: str, first_rung: int = 0) -> None:
        """Have a configuration tried next, by whichever process comes first."""
        about = {"family": family, "label": label, "first_rung": first_rung}
        self._study.enqueue_trial({"family": family, **{f"{family}.{key}": value for key, value in settings.items()}}, user_attrs=about)

    def begin(self) -> Trial:
        """Take the next trial of the queue."""
        trial = self._study.ask()
        trial.set_user_attr("owner", self.owner)
        self._suggest(trial)
        return self.trial(trial.number)

    def propose(self, near: Trial | None = None) -> Trial:
        """A new trial by multivariate TPE (Bergstra et al. 2011; Falkner et al. 2018), each family's settings by themselves.

        The sampler sees what each trial showed at its last rung, those between two rungs included; more rungs count as better.

        Args:
            near: a good trial; the new one differs from it in `CHANGED` settings only.
        """
        optuna, trials = self._optuna, self._study.get_trials(deepcopy=False)
        # The seed depends on how many trials there are, and on the process, so that none is proposed twice.
        seed = derive(self._seed, "search", self.owner, len(trials)) % 2**31
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sampler = optuna.samplers.TPESampler(multivariate=True, group=True, n_startup_trials=len(self.spaces), seed=seed)
            if near is not None:
                free = random.Random(seed).sample(sorted(near.settings), min(CHANGED, len(near.settings)))
                kept = {f"{near.family}.{key}": value for key, value in near.settings.items() if key not in free}
                sampler = optuna.samplers.PartialFixedSampler({"family": near.family, **kept}, sampler)
            view = optuna.create_study(direction=self._study.direction, sampler=sampler)
            view.add_trials([_as_stopped(optuna, frozen) for frozen in trials if frozen.intermediate_values])
            proposed = view.ask()
            self._suggest(proposed)
        self._study.enqueue_trial(proposed.params)
        return self.begin()

    def _suggest(self, trial: Any) -> None:
        family = trial.suggest_categorical("family", sorted(self.spaces))
        for key, dimension in self.spaces[family].dimensions.items():
            _suggest(trial, f"{family}.{key}", dimension)

    def adopt(self) -> None:
        """Take on the trials that were taken when their process was killed, before it could put its name to them.

        Only for a storage that no other process uses.
        """
        for frozen in self._study.get_trials(deepcopy=False):
            if frozen.state.name == "RUNNING" and "owner" not in frozen.user_attrs:
                self._live(frozen.number).set_user_attr("owner", self.owner)

    def trial(self, number: int) -> Trial:
        """The trial of that number, as it is now."""
        return _trial(self._study.get_trials(deepcopy=False)[number])

    def report(self, number: int, result: TrialResult, value: float) -> None:
        """Keep what a trial showed at a rung.

        Args:
            number: of the trial.
            result: all of it.
            value: what the sampler goes by.
        """
        trial = self._live(number)
        # In this order: killed in between, the rung is done again, and Optuna keeps the value that it has.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial.report(value, step=result.rung)
        trial.set_user_attr(f"rung {result.rung}", result.model_dump())

    def stop(self, number: int) -> None:
        """A trial is hopeless, or its time is over."""
        self._study.tell(number, state=self._optuna.trial.TrialState.PRUNED)

    def finish(self, number: int) -> None:
        """A trial is through all its rungs."""
        values = self._study.get_trials(deepcopy=False)[number].intermediate_values
        self._study.tell(number, values[max(values)])

    def fail(self, number: int) -> None:
        """A trial can't be trained."""
        self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)

    def _live(self, number: int) -> Any:
        return self._optuna.trial.Trial(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)


def _as_stopped(optuna: Any, frozen: Any) -> Any:
    """A trial as one that was stopped at its last rung."""
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.PRUNED,
        params=frozen.params,
        distributions=frozen.distributions,
        intermediate_values=frozen.intermediate_values,
    )


def _trial(frozen: Any) -> Trial:
    """A trial as Optuna keeps it -> one of ours."""
    about = frozen.user_attrs
    family = frozen.params.get("family") or about.get("family", "")
    results = [TrialResult.model_validate(value) for key, value in about.items() if key.startswith("rung ")]
    states: dict[str, State] = {"WAITING": "waiting", "RUNNING": "open", "PRUNED": "stopped", "COMPLETE": "finished", "FAIL": "failed"}
    prefix = f"{family}."
    return Trial(
        number=frozen.number,
        label=about.get("label", f"{family} {frozen.number}"),
        family=family,
        settings={key.removeprefix(prefix): value for key, value in frozen.params.items() if key.startswith(prefix)},
        state=states[frozen.state.name],
        owner=about.get("owner", ""),
        first_rung=about.get("first_rung", 0),
        results=tuple(sorted(results, key=lambda result: result.rung)),
    )


def _suggest(trial: Any, name: str, dimension: Dimension) -> None:
    if isinstance(dimension, Choice):
        trial.suggest_categorical(name, list(dimension.values))
    elif dimension.whole:
        trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.logarithmic)
    else:
        trial.suggest_float(name, dimension.low, dimension.high, log=dimension.logarithmic)


def _optuna() -> Any:
    """The library, quiet.

    Raises:
        InputError: it is not installed.
    """
    optuna = import_extra("optuna", "optuna", "tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def import_ahead(storage: str | None) -> None:
    """Import what a storage needs now, so that the time is counted before a search is planned.

    Raises:
        InputError: Optuna is not installed.
    """
    _optuna()
    if storage is None or not storage.startswith(JOURNAL):
        with suppress(ImportError):
            importlib.import_module("sqlalchemy.orm")
            importlib.import_module("alembic.command")


def _storage(optuna: Any, url: str) -> Any:
    if url.startswith(JOURNAL):
        # The lock is a link to the path; one to a relative path would lead nowhere, and a process that waits for it would wait forever.
        path = Path(url.removeprefix(JOURNAL)).absolute()
        if not path.parent.is_dir():
            raise InputError("has no folder to lie in", where=path, remedy="Make it first, or choose another --storage")
        journal = optuna.storages.journal
        lock = journal.JournalFileSymlinkLock(str(path), grace_period=STALE_SECONDS)
        _mend(path, lock)
        return optuna.storages.JournalStorage(journal.JournalFileBackend(str(path), lock_obj=lock))
    if "://" not in url:
        raise InputError(
            f"can't read the storage {url!r}",
            expected=f"an Optuna storage URL, like sqlite:///study.sqlite3 or postgresql://user@host/name, or {JOURNAL}PATH",
        )
    return _database(optuna, url)


def _mend(journal: Path, lock: Any) -> None:
    """Cut off a last line that a killed process left half written; the next one would be written behind it, and nobody could read either."""
    if not journal.exists():
        return
    lock.acquire()
    try:
        content = journal.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(journal, content.rfind(b"\n") + 1)
    finally:
        lock.release()


def _database(optuna: Any, url: str) -> Any:
    """A database, with its tables; two processes that make them at once would disturb each other, so that one waits."""
    waiting = {"connect_args": {"timeout": LOCK_SECONDS}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    for attempt in range(ATTEMPTS):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=waiting)
        except Exception as error:
            if attempt == ATTEMPTS - 1 or type(error).__name__ not in ("IntegrityError", "OperationalError", "ProgrammingError"):
                raise
            time.sleep(0.3)
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def storage_errors(url: str, *more: type[Exception]) -> Iterator[None]:
    """Turn what a storage raises that isn't there, or is no longer, into an `InputError`.

    Args:
        url: of the storage.
        more: exceptions that can come of nothing else within the block, beside those of the storage's own libraries.
    """
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        raise InputError(f"the storage {masked(url)} needs a driver ({error})", remedy="Install it with pip") from None
    except Exception as error:
        if not isinstance(error, more) and type(error).__module__.partition(".")[0] not in ("sqlalchemy", "optuna"):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the storage {masked(url)} can't be used ({reason})",
            expected=f"an Optuna storage URL, like sqlite:///study.sqlite3 or postgresql://user@host/name, or {JOURNAL}PATH",
        ) from None


def masked(url: str) -> str:
    """A URL without its password."""
    scheme, divider, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    return f"{scheme}{divider}{account.partition(':')[0]}{at}{place}"

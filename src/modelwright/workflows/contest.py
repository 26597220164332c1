"""The contest: what `select` and `build` share. The data is read, each family's own recipe is made and timed, and the search is run in a study."""

from __future__ import annotations

import json
import math
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from modelwright.core.config import validate
from modelwright.core.errors import InputError, RunInterrupted
from modelwright.core.run import Run
from modelwright.core.units import Budget
from modelwright.data.split import Split
from modelwright.workflows.board import Board
from modelwright.workflows.candidates import Comparing, candidates, fast_enough, plain_recipe, wanted_families
from modelwright.workflows.halving_rungs import Rungs, judged_examples
from modelwright.workflows.job import Job, Probe, probe, read
from modelwright.workflows.judge import affordable
from modelwright.workflows.recipe import Recipe, apply, data_name
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.search import Search, SearchPlan, begin
from modelwright.workflows.space import Space
from modelwright.workflows.study import Study, Trial, TrialResult, masked, storage_errors


@dataclass(frozen=True)
class Asked:
    """What the user asked for, and how far a search came: all that going on with it needs beside the study.

    Attributes:
        verb: `select` or `build`.
        values: of the recipes, nested.
        families: named ones; none for those that suit the data, but for language models that compute too slowly here.
        output: the folder to make.
        storage: of the study; None for a file in the folder.
        study: its name; None for one made of the data.
        owner: this process, in the study.
        seconds: for the search; None until that is decided.
        searched: seconds of it that are spent.
        spent: seconds of the budget that are spent.
        train: whether the winner is to be trained.
    """

    verb: str
    values: dict[str, Any]
    families: tuple[str, ...]
    output: str | None
    storage: str | None = None
    study: str | None = None
    owner: str = ""
    seconds: float | None = None
    searched: float = 0.0
    spent: float = 0.0
    train: bool = True

    @property
    def budget(self) -> Budget:
        """Of everything."""
        return Budget.parse(self.values["training"]["budget"])

    @property
    def terms(self) -> dict[str, Any]:
        """What all who share a study must have in common."""
        training = {key: value for key, value in self.values["training"].items() if key != "budget"}
        values = {key: value for key, value in self.values.items() if key not in ("name", "data")}
        data = {key: value for key, value in self.values["data"].items() if key != "path"}
        return json.loads(json.dumps({**values, "data": data, "training": training, "families": sorted(self.families)}, default=str))

    @classmethod
    def of(
        cls,
        verb: str,
        data: str,
        budget: str | Budget,
        families: Sequence[str] | None,
        output: Path | str | None,
        settings: Iterable[str],
        changes: Mapping[str, Any] | None,
        **more: Any,
    ) -> Asked:
        """Make it of a verb's arguments.

        Raises:
            InputError: a setting can't be read, or the budget is none of time.
        """
        told: dict[str, Any] = {"data": {"path": str(data)}, "training": {"budget": str(budget)}}
        values: dict[str, Any] = {"name": data_name(str(data)), **{part: dict(about) for part, about in told.items()}}
        apply(values, settings, changes)
        for part, about in told.items():
            if not isinstance(values[part], dict):
                raise InputError(
                    f"can't read the setting {part}={values[part]!r}",
                    expected=f"one of its settings, like {part}.{next(iter(about))}=VALUE",
                )
            values[part] = {**about, **values[part]}
        asked = Budget.parse(values["training"]["budget"])
        if asked.seconds is None:
            raise InputError(
                f"{verb} can't spend a budget of {asked}", expected="a time, like 90s, 5m or 2h", remedy="train takes other budgets"
            )
        model = values.get("model")
        named = model.get("family") if isinstance(model, dict) else model
        owner = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        wanted = tuple(families or ([str(named)] if named else []))
        return cls(verb, values, wanted, None if output is None else str(output), owner=owner, **more)

    @classmethod
    def saved(cls, run: Run, verb: str) -> Asked:
        """That of an interrupted search.

        Raises:
            InputError: it is damaged, or of another verb.
        """
        try:
            state = json.loads(run.comparison.read_text(encoding="utf-8"))
            known = {name: value for name, value in state.items() if name != "trials"}
            asked = cls(**{**known, "families": tuple(state["families"])})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"is damaged ({error})", where=run.comparison, remedy="Remove the folder and start again") from None
        if asked.verb != verb:
            raise InputError(
                f"was made by {asked.verb}", where=run.path, remedy=f"Go on with: modelwright {asked.verb} --resume {run.path}"
            )
        return asked

    def save(self, run: Run, trials: Sequence[Trial] = ()) -> None:
        """Write it into the folder, with what the trials showed so far; a password in the storage's URL is left out."""
        shown = [
            {
                "candidate": trial.label,
                **result.model_dump(include={"seconds", "value", "parameters", "samples_per_second", "standard_error"}),
            }
            for trial in trials
            for result in trial.results
        ]
        run.write_json(run.comparison, {**vars(self), "storage": self.storage and masked(self.storage), "trials": shown})


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        trials: all of them.
        best: the winner.
        job: the winner's.
        judged: validation examples that decided.
        plan: rungs.
    """

    trials: list[Trial]
    best: Trial
    job: Job
    judged: int
    plan: SearchPlan

    def curve(self) -> list[TrialResult]:
        """All rungs of the winner and of the trials of its family that came as far; of all its trials, where there was one of each size only."""
        assert self.best.last is not None
        far = self.best.last.rung if self.plan.proposals else 0
        like = [trial for trial in self.trials if trial.family == self.best.family and trial.last and trial.last.rung >= far]
        return [result for trial in like for result in trial.results]


@dataclass(frozen=True)
class Contest:
    """Families to compare, each with its own recipe and its space.

    Attributes:
        asked: by the user.
        name: of the run.
        digest: of the data.
        probed: each family's own recipe, with its speed.
        spaces: of the families.
        validation: the split that decides, whole.
        study: the one that is joined, or gone on with; None for a new one.
        since: `time.monotonic()` from which the search's seconds count.
    """

    asked: Asked
    name: str
    digest: str
    probed: dict[str, Probe]
    spaces: dict[str, Space]
    validation: Split
    study: Study | None
    since: float

    @classmethod
    def of(cls, asked: Asked, storage: str | None, reporter: Reporter) -> Contest:
        """Read the data and make the recipes; those of a study that is there already.

        Args:
            asked: by the user.
            storage: where a study may lie that this takes part in, or goes on with.
            reporter: whom to tell.

        Raises:
            InputError: the data can't be learnt from, a setting is wrong, or the study in the storage is about something else, or gone.
        """
        first = plain_recipe(asked.values, wanted_families(list(asked.families), None)[0])
        dataset = read(first, reporter)
        if "validation" not in dataset.splits:
            raise InputError(f"{asked.verb} needs a validation split to compare on", remedy="Leave data.validation above 0")
        digest = dataset.digest()
        name = asked.study or f"data-{digest[:12]}"
        study = None if storage is None else Study.join(storage, name, owner=asked.owner, seed=first.seed)
        if study is None and asked.seconds is not None:
            raise InputError(
                f"the study {name!r} is no longer in its storage {masked(storage or '')}", remedy="Bring it back, or start a new search"
            )
        if study is not None:
            _check_same(study.plan, asked, digest, first.data.path)
            saved = {family: _for_this(validate(Recipe, values), first) for family, values in study.plan["recipes"].items()}
            probed = {family: probe(Job.make(recipe, dataset)) for family, recipe in saved.items()}
        else:
            names = wanted_families(list(asked.families), dataset.schema)
            if not names:
                raise InputError(f"no family is known to suit a {dataset.schema.kind}", remedy="Name some with --family")
            probed = candidates(asked.values, names, dataset)
            if not (Comparing.of(dataset.schema).slow_ones or asked.families):
                probed = fast_enough(probed, reporter)
        within = affordable(dataset, list(probed.values()))
        held = min(timed.held for timed in probed.values())
        probed = {name: replace(timed, job=timed.job.on(within), held=held) for name, timed in probed.items()}
        sizes = Comparing.of(dataset.schema).sizes
        spaces = {name: Space.of(timed.job.recipe, asked.values, dials=sizes) for name, timed in probed.items()}
        validation = dataset.splits["validation"]
        return cls(replace(asked, study=name), first.name, digest, probed, spaces, validation, study, time.monotonic())

    def within(self, seconds: float) -> Contest:
        """The same, to be searched for so long from now on."""
        return replace(self, asked=replace(self.asked, seconds=seconds), since=time.monotonic())

    @property
    def any_probe(self) -> Probe:
        """One of the timed recipes."""
        return next(iter(self.probed.values()))

    def search(self, run: Run, storage: str, reporter: Reporter, started: float) -> Found:
        """Run the search, or go on with it; how far it came is saved after each rung.

        Args:
            run: the folder.
            storage: of the study.
            reporter: whom to tell.
            started: from when the budget counts.

        Raises:
            InputError: nothing could be trained in the time.
            RunInterrupted: the user asked to stop; everything is saved.
        """
        asked, study = self.asked, self.study
        if study is None:
            study = self._begin(storage)
            if study is None:
                joined = replace(Contest.of(asked, storage, reporter), since=self.since)
                return joined.search(run, storage, reporter, started)
        elif asked.storage is None:
            study.adopt()
        plan = SearchPlan(**{**study.plan["search"], "rungs": tuple(study.plan["search"]["rungs"])})
        rungs = Rungs(self.probed, self.spaces, self.validation.sample(study.plan["judged"]), run.path / "rungs", reporter)
        assert asked.seconds is not None, "decide first how long to search"
        deadline, higher = self.since + asked.seconds - asked.searched, self.any_probe.job.task.higher_is_better
        board = Board(self.any_probe.job, plan.rungs, reporter, deadline)

        def notice(trials: Sequence[Trial]) -> None:
            now = time.monotonic()
            replace(asked, searched=asked.searched + now - self.since, spent=now - started).save(run, trials)
            board.update(trials)

        search = Search(study, self.spaces, plan, rungs, deadline, higher_is_better=higher, notice=notice)
        notice(study.trials())
        try:
            with board, storage_errors(storage):
                best = search.run()
        except (RunInterrupted, KeyboardInterrupt):
            notice(study.trials())
            done = sum(len(trial.results) for trial in study.trials())
            raise RunInterrupted(
                f"Interrupted while comparing, after {done} short trainings, which are saved. Go on with: modelwright {asked.verb} --resume {run.path}"
            ) from None
        shutil.rmtree(rungs.folder, ignore_errors=True)
        return Found(study.trials(), best, rungs.job(best), len(rungs.validation), plan)

    def _begin(self, storage: str) -> Study | None:
        """A new study with each family's own recipe in its queue; None if another process has just begun it."""
        asked, job = self.asked, self.any_probe.job
        assert asked.seconds is not None, "decide first how long to search"
        assert asked.study is not None
        wide = any("width" in space.dimensions for space in self.spaces.values())
        recipes = {name: timed.job.recipe.model_dump(mode="json") for name, timed in self.probed.items()}
        shortest = Comparing.of(job.dataset.schema).telling_steps * median(timed.step_seconds for timed in self.probed.values())
        longest = shortest if asked.train else math.inf
        plan = SearchPlan.of(len(self.spaces), asked.seconds, wide=wide, shortest=shortest, longest=longest)
        judged = judged_examples(self.probed, plan.rungs[0])
        about = {"digest": self.digest, "terms": asked.terms, "recipes": recipes, "search": vars(plan), "judged": judged}
        return Study.create(
            storage,
            asked.study,
            about,
            owner=asked.owner,
            maximize=job.task.higher_is_better,
            seed=job.recipe.seed,
            prepare=lambda study: begin(study, self.spaces),
        )


def _for_this(recipe: Recipe, own: Recipe) -> Recipe:
    """A recipe of a study, with the name, the data and the budget of this process."""
    return recipe.replace(name=own.name, data=own.data, training=recipe.training.replace(budget=own.training.budget))


def _check_same(plan: Mapping[str, Any], asked: Asked, digest: str, data: str) -> None:
    """See that a study is about the same question.

    Raises:
        InputError: it is about other data, or was begun with other settings.
    """
    if plan["digest"] != digest:
        raise InputError("the data changed since the search began", where=data, remedy="Bring the data back, or start a new search")
    if plan["terms"] != asked.terms:
        differing = sorted(key for key in {**plan["terms"], **asked.terms} if plan["terms"].get(key) != asked.terms.get(key))
        raise InputError(
            f"the study {asked.study!r} was begun with other settings ({', '.join(differing)})",
            remedy="Give the same ones, or choose another --study",
        )

"""The search: families and their settings at equal compute, each trial in ever longer rungs as long as it deserves them.

Every family's own recipe comes first; with more time, other settings are proposed. A trial trains for the seconds of the shortest rung, afresh
for those of the next one if it is in the better half of all that were seen there, and so on, each rung taking as much of the time as the one
before it (successive halving without waiting: Li et al. 2020, ASHA). Where shorter rungs than one for all would tell nothing, there is one. At the end
the best one is tried at twice its width, where its size is searched.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modelwright.core.errors import InputError
from modelwright.planning.halving import plan_rounds, planned_trials, rank, survives
from modelwright.workflows.space import Space
from modelwright.workflows.study import Study, Trial, TrialResult

SIZE_SHARE = 0.2
"""Share of a search that goes to trying a larger size of the best trial."""
TRAINED_SHARE = 0.85
"""Share of a search of a single rung that is given to training; the rest is for judging, so that no family is left without a trial."""
SHORTER = 0.8
"""A rung may be cut to that share of its seconds where time runs out; where even that is too much, it is left out."""

LARGER = " x2"
"""How a trial that is another one at twice its width is told from it."""
MOST_FAILURES = 5
"""After so many trials in a row that couldn't be trained, no more are proposed."""

Train = Callable[[Trial, int, float], TrialResult | None]
"""Trains a trial at a rung for some seconds; None if it can't be trained."""
Notice = Callable[[Sequence[Trial]], None]
"""Is told of all trials after each change."""


@dataclass(frozen=True)
class SearchPlan:
    """How a search spends its time.

    Attributes:
        rungs: seconds of each, the shortest first.
        proposals: whether there is time for more than one trial a family.
        larger: seconds for the larger size of the best trial; 0 for none.
    """

    rungs: tuple[float, ...]
    proposals: bool
    larger: float

    @classmethod
    def of(cls, families: int, seconds: float, *, wide: bool = True, shortest: float = 0.0, longest: float = math.inf) -> SearchPlan:
        """The plan of so many seconds.

        Args:
            families: how many are compared.
            seconds: for everything.
            wide: whether any family can be widened.
            shortest: seconds that a rung should have at least. There are fewer trials where it would have less, and where one a family is still
                too many for that, there is a single rung.
            longest: seconds that a single rung should have at most, if what is left is of use.
        """
        halving = (1 - SIZE_SHARE * wide) * seconds
        trials = wanted = planned_trials(families, halving)
        while trials > families and plan_rounds(trials, halving)[0].seconds < shortest:
            trials -= 1
        rungs = tuple(entry.seconds for entry in plan_rounds(trials, halving))
        if rungs[0] < shortest or trials == 1 < wanted:
            rungs = (min(longest, TRAINED_SHARE * halving / trials),)
        return cls(rungs, trials > families, min(rungs[-1], SIZE_SHARE * seconds) if wide else 0.0)


class Search:
    """Spends a share of a budget on the trials of a study.

    Args:
        study: holds the trials; those that this process left open go on.
        spaces: of the families, by name.
        plan: rungs and shares.
        train: does a rung.
        deadline: time of `clock` at which the search must have ended.
        higher_is_better: of the primary metric.
        notice: is told of all trials after each change.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        study: Study,
        spaces: Mapping[str, Space],
        plan: SearchPlan,
        train: Train,
        deadline: float,
        *,
        higher_is_better: bool,
        notice: Notice = lambda trials: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.study, self.plan, self._spaces, self._train = study, plan, spaces, train
        self._deadline, self._notice, self._clock = deadline, notice, clock
        self._sign = 1 if higher_is_better else -1
        self._aside = 0.0
        study.spaces = dict(spaces)

    def run(self) -> Trial:
        """Spend the time.

        Returns:
            The best trial.

        Raises:
            InputError: nothing could be trained in the time.
            RunInterrupted: the user asked to stop; the trials that are open go on when the search does.
        """
        end = self._deadline - self.plan.larger
        while (trial := self._next(end)) is not None:
            self._advance(trial, trial.next_rung, end)
        best = best_trial(self.study.trials())
        if best is None:
            raise InputError(
                "no family could be trained in its share of the budget",
                remedy="Give a larger --budget, or if they diverged a lower training.optimizer.learning_rate",
            )
        self._try_larger(best)
        trials = self.study.trials()
        for trial in trials:
            if self._is_mine(trial):
                self._end(trial)
        best = best_trial(trials)
        assert best is not None
        return best

    def _is_mine(self, trial: Trial) -> bool:
        return trial.state == "open" and trial.owner == self.study.owner

    def _end(self, trial: Trial) -> None:
        if not trial.results:
            self.study.fail(trial.number)
        elif trial.next_rung >= len(self.plan.rungs):
            self.study.finish(trial.number)
        else:
            self.study.stop(trial.number)

    def _fits(self, seconds: float, end: float) -> bool:
        return self._clock() + SHORTER * seconds + self._aside <= end

    def _next(self, end: float) -> Trial | None:
        """The trial to train next; None when no rung fits before `end`, or none is deserved.

        take up what waits in the queue, or was interrupted
        else stop what is hopeless, and let the best open trial go on whose next rung has had its share of the time, the furthest first
        else propose a new one: by turns near the best one, and anywhere
        else, when there is no time for that, let the best open trial go on that fits
        """
        trials, rungs = self.study.trials(), self.plan.rungs
        if any(trial.state == "waiting" for trial in trials) and self._fits(rungs[0], end):
            return self.study.begin()
        open_trials = []
        for trial in filter(self._is_mine, trials):
            if trial.next_rung >= len(rungs) or (trial.last is not None and not self._deserves(trial, trials)):
                self._end(trial)
            elif self._fits(rungs[trial.next_rung], end):
                open_trials.append(trial)
        open_trials.sort(key=lambda trial: (trial.last is not None, -trial.next_rung, -trial.last.score if trial.last else 0.0))
        spent = [sum(seen.seconds for trial in trials if (seen := trial.at(rung))) for rung in range(len(rungs))]
        for trial in open_trials:
            rung = trial.next_rung
            if trial.last is None or spent[rung] + SHORTER * rungs[rung] <= spent[rung - 1]:
                return trial
        if self.plan.proposals and self._fits(rungs[0], end) and self._hopeful(trials):
            return self.study.propose(near=best_trial(trials) if len(trials) % 2 else None)
        return open_trials[0] if open_trials else None

    def _hopeful(self, trials: Sequence[Trial]) -> bool:
        """Whether not all of the last trials failed; those that another process has in training may yet be good."""
        last = trials[-MOST_FAILURES:]
        return not last or any(trial.state != "failed" for trial in last)

    def _deserves(self, trial: Trial, trials: Sequence[Trial]) -> bool:
        """Whether it was among the better half at its last rung."""
        assert trial.last is not None
        return survives(trial.last, [seen for rival in trials if (seen := rival.at(trial.last.rung))])

    def _advance(self, trial: Trial, rung: int, end: float) -> None:
        """Train a trial at a rung, within the time there is."""
        began = self._clock()
        seconds = min(self.plan.rungs[rung], end - began - self._aside)
        result = self._train(trial, rung, seconds)
        self._aside = max(0.0, self._clock() - began - seconds)
        if result is None:
            self.study.fail(trial.number)
        else:
            self.study.report(trial.number, result, self._objective(result))
        self._notice(self.study.trials())

    def _objective(self, result: TrialResult) -> float:
        """What the sampler goes by: the primary metric and, where it has a loss beside it, that as far as it decides between equal ones."""
        loss = 0.0 if result.loss == -result.score else result.loss / (1 + result.loss)
        return self._sign * (result.score - 1e-4 * loss)

    def _try_larger(self, best: Trial) -> None:
        """The best trial once more at twice its width, at the rung that it reached, if it is not such a one, and nobody did so yet."""
        assert best.last is not None
        if best.label.endswith(LARGER) or self.plan.larger < 0.5 * self.plan.rungs[best.last.rung]:
            return
        settings = self._spaces[best.family].wider(best.settings)
        if settings is None:
            return
        trial = next((seen for seen in self.study.trials() if seen.family == best.family and seen.settings == settings), None)
        if trial is None:
            self.study.enqueue(best.family, settings, f"{best.label}{LARGER}", best.last.rung)
            trial = self.study.begin()
        if trial.results or not self._is_mine(trial):
            return
        self._advance(trial, trial.next_rung, self._clock() + self.plan.larger + self._aside)


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The best of those that were trained longest, but for those that failed when trained longer still; None if none was trained."""
    trained = [trial for trial in trials if trial.last]
    results = {id(trial.last): trial for trial in [trial for trial in trained if trial.state != "failed"] or trained}
    if not results:
        return None
    furthest = max(trial.last.rung for trial in results.values() if trial.last)
    return results[id(rank([trial.last for trial in results.values() if trial.last and trial.last.rung == furthest])[0])]


def begin(study: Study, spaces: Mapping[str, Space]) -> None:
    """Put every family's own recipe first."""
    for family, space in spaces.items():
        study.enqueue(family, space.own, family)

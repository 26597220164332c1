"""Finishing a run: the bundle, the evaluation, and the ledger's measurements."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from torch import nn

from modelwright.core.run import Run, write_atomic
from modelwright.core.units import format_bytes
from modelwright.evaluation.examplewise import ErrorLog
from modelwright.evaluation.summary import Evaluation, label
from modelwright.evaluation.tables import tables
from modelwright.metrics.estimate import PROPORTIONS, show
from modelwright.serving.bundle import BundleConfig, save_bundle
from modelwright.workflows.job import Job
from modelwright.workflows.judge import deciding, judged_splits
from modelwright.workflows.reporter import Reporter


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        run: the run folder.
        evaluation: everything that was measured.
        seconds: from the beginning of the command to its end.
        details: more, ready for JSON.
    """

    run: Run
    evaluation: Evaluation
    seconds: float
    details: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """`run`, `seconds`, `evaluation`, `ledger`, and the details."""
        ledger = [entry.model_dump() for entry in self.run.ledger.entries().values()]
        evaluation = self.evaluation.to_json()
        return {"run": str(self.run.path), "seconds": self.seconds, **self.details, "evaluation": evaluation, "ledger": ledger}


def ship(run: Run, job: Job, network: nn.Module, evaluation: Evaluation) -> int:
    """Write the bundle and the evaluation.

    Returns:
        The bundle's size in bytes.
    """
    save_bundle(run.bundle, bundle_config(job), network)
    run.write_json(run.evaluation, evaluation.to_json())
    return sum(file.stat().st_size for file in run.bundle.iterdir())


def bundle_config(job: Job) -> BundleConfig:
    """What a job's bundle says."""
    recipe = job.recipe
    return BundleConfig(
        name=recipe.name,
        data=recipe.data,
        data_schema=job.dataset.schema,
        task=recipe.task,
        stem=recipe.stem,
        model=recipe.model,
        head=recipe.head,
        data_digest=job.dataset.digest(),
    )


def keep_errors(run: Run, job: Job, errors: ErrorLog) -> None:
    """Write the error of each example of the split that decides, so that this run can be compared with others on the same examples."""
    name = deciding(job.dataset.splits)
    kept = errors.to_json(name, judged_splits(job)[name])
    if kept is not None:
        write_atomic(run.errors, json.dumps(kept, separators=(",", ":")) + "\n")


def prove(run: Run, evaluation: Evaluation, reporter: Reporter) -> None:
    """Say what was measured, what was better, and whether the forecast came true."""
    verdict = ""
    entry = run.ledger.entries().get(f"{evaluation.judged} {evaluation.primary}")
    if entry and entry.verdict:
        verdict = " · inside the forecast" if entry.verdict == "inside" else f" · {entry.verdict} the forecast"
    gap = evaluation.gap.get("train-test")
    parts = [f"{evaluation.judged} {label(evaluation.primary)} {show(evaluation.primary, evaluation.score)}{verdict}"]
    if gap is not None:
        percent = evaluation.primary in PROPORTIONS
        parts.append(f"gap to train {100 * gap:.1f}" if percent else f"gap to train {gap:.3g}")
    calibration = evaluation.splits[evaluation.judged].get("calibration_error")
    if calibration is not None:
        parts.append(f"calibration error {calibration.value:.3f}")
    reporter.say("prove", " · ".join(parts))


def say_shipped(run: Run, size: int, reporter: Reporter) -> None:
    """Say where everything lies."""
    reporter.say("ship", f"{run.bundle} {format_bytes(size)} · {run.evaluation.name} · {run.ledger.path.name}")


def show_evaluation(evaluation: Evaluation, reporter: Reporter) -> None:
    """The first line, then the tables."""
    reporter.show(evaluation.first_line())
    for table in tables(evaluation):
        reporter.show("")
        reporter.show(table)

"""`evaluate`: how good a run's model is, by its own evaluation or on other labelled data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelwright.core.config import validate
from modelwright.core.errors import InputError, unknown_name
from modelwright.core.run import Run
from modelwright.data.config import DataConfig
from modelwright.data.examples import Reject
from modelwright.data.prediction import labeled, read_examples
from modelwright.data.split import Split
from modelwright.data.text import read_text
from modelwright.evaluation.evaluate import Measured
from modelwright.evaluation.evaluate import evaluate as measure
from modelwright.evaluation.summary import Evaluation
from modelwright.serving.bundle import Bundle, load_bundle
from modelwright.workflows.finish import show_evaluation
from modelwright.workflows.judge import REPLICATES
from modelwright.workflows.recipe import apply
from modelwright.workflows.reporter import Reporter

MOST_REJECTS = 20
"""Examples set aside that are shown; the rest are counted."""
SPLITS = ("train", "validation", "test", "all")


@dataclass(frozen=True, slots=True)
class Judgement:
    """An evaluation, and which run and data it is of."""

    run: Path
    data: str | None
    evaluation: Evaluation
    rejected: tuple[Reject, ...] = ()
    """Examples of `data` that could not be judged, with the reason."""

    def to_json(self) -> dict[str, Any]:
        """`run`, `data`, `rejected`, and what `evaluation.json` holds."""
        rejected = [{"origin": reject.origin, "reason": reject.reason} for reject in self.rejected]
        return {"run": str(self.run), "data": self.data, "rejected": rejected, **self.evaluation.to_json()}


def evaluate(
    run: Path | str,
    data: str | None = None,
    *,
    split: str = "test",
    changes: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
) -> Judgement:
    """Show a run's own evaluation, or measure its model on other labelled data.

    Args:
        run: a run folder, or with `data` a bundle too.
        data: labelled data in the form that the run was trained on.
        split: which split of `data`, where it has several: `train`, `validation`, `test` or `all`.
        changes: data settings by dotted key.
        reporter: whom to tell.

    Raises:
        InputError: there is no such run, or the data doesn't fit its model.
    """
    reporter = reporter or Reporter()
    path = Path(run)
    judgement = Judgement(path, None, _stored(Run.open(path))) if data is None else _measured(path, data, split, changes or {}, reporter)
    show_evaluation(judgement.evaluation, reporter)
    return judgement


def _stored(run: Run) -> Evaluation:
    if not run.evaluation.is_file():
        raise run.lacks("evaluation")
    try:
        return Evaluation.from_json(json.loads(run.evaluation.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"is damaged ({error})", where=run.evaluation) from None


def _measured(path: Path, data: str, split: str, changes: Mapping[str, Any], reporter: Reporter) -> Judgement:
    bundle = load_bundle(path)
    chosen, name, rejects = labeled_split(data, bundle, split, changes, reporter)
    measured: Measured = measure(bundle.network, bundle.task, chosen, replicates=REPLICATES)
    return Judgement(path, data, Evaluation.of(bundle.task, {name: measured}), rejects)


def labeled_split(
    data: str, bundle: Bundle, split: str, changes: Mapping[str, Any], reporter: Reporter
) -> tuple[Split, str, tuple[Reject, ...]]:
    """Labelled data, as the model of a bundle takes it: a split of that name, or all of what has no splits.

    Returns:
        The examples, the name of what was taken, and what was set aside.

    Raises:
        InputError: there is no such split, or the data doesn't fit the model.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    schema = bundle.config.data_schema
    values: dict[str, Any] = {"data": bundle.config.data.model_dump()}
    apply(values, changes=changes)
    config = validate(DataConfig, values["data"])
    if schema.kind == "text":
        text, notes, name = read_text(data, schema, config, split=split)
        for note in notes:
            reporter.say("note", note)
        return text, name, ()
    examples = labeled(read_examples(data, schema, config), schema)
    name = data
    if examples.split is not None and split != "all":
        if split not in set(examples.split.tolist()):
            raise InputError(
                f"has no split {split!r}", where=data, expected=f"one of {', '.join(sorted(set(examples.split.tolist())))}, all"
            )
        examples, name = examples.take(examples.split == split), split
    for note in examples.notes:
        reporter.say("note", note)
    for reject in examples.rejects[:MOST_REJECTS]:
        reporter.say("set aside", f"{reject.origin}: {reject.reason}")
    if len(examples.rejects) > MOST_REJECTS:
        reporter.say("", f"and {len(examples.rejects) - MOST_REJECTS:,} more; --json has them all")
    return Split.of(schema, examples), name, examples.rejects

"""The card of a model: what it is, how good, of what data and by which recipe, as values for a page or a program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from modelwright.core.run import Run
from modelwright.core.schema import Feature, Schema, describe
from modelwright.evaluation.summary import Evaluation, label
from modelwright.metrics.estimate import show
from modelwright.serving.bundle import Bundle

MOST_VALUES = 1000
"""Values of a category that are told."""


def card_of(run: Path, bundle: Bundle) -> dict[str, Any]:
    """The card of the model in a run folder, or in a bundle alone, which knows nothing of scores and data."""
    config, schema = bundle.config, bundle.config.data_schema
    state = _read(run / "run.json") or {}
    report = state.get("report")
    return {
        "name": config.name,
        "what": _what(schema),
        "kind": schema.kind,
        "task": config.task.name,
        "family": config.model.family,
        "parameters": sum(parameter.numel() for parameter in bundle.network.parameters()),
        "inputs": [_feature(feature) for feature in schema.inputs],
        "target": _feature(schema.target),
        "quality": _quality(_read(run / "evaluation.json")),
        "data": {
            "name": Path(config.data.path).name,
            "splits": report.get("splits", {}) if isinstance(report, dict) else {},
            "digest": config.data_digest,
        },
        "training_seconds": _training_seconds(run),
        "settings": {
            "task": config.task.model_dump(mode="json"),
            "stem": config.stem.model_dump(mode="json"),
            "model": config.model.on(config.stem, schema).model_dump(mode="json"),
        },
        "recipe": _recipe(run / "recipe.yaml"),
        "versions": dict(config.versions),
    }


def _training_seconds(run: Path) -> float | None:
    """As measured; None where nothing tells."""
    try:
        return Run(run).ledger.entries()["training time"].measured
    except (OSError, ValueError, KeyError):
        return None


def _what(schema: Schema) -> str:
    """What the model does, in one sentence."""
    if schema.causal:
        return f"Continues texts, reading {schema.text.shape[0]:,} tokens at once."
    given = describe(schema.inputs[0]) if len(schema.inputs) == 1 else f"{len(schema.inputs)} columns"
    if schema.classes:
        return f"Tells which of {len(schema.classes):,} classes the {schema.target.name} is, from {_a(given)}."
    return f"Tells the {schema.target.name}, a number, from {_a(given)}."


def _a(noun: str) -> str:
    return noun if noun[0].isdigit() else f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _feature(feature: Feature) -> dict[str, Any]:
    told = feature.model_dump(mode="json", include={"name", "type", "shape", "mean", "scale", "has_missing"})
    return {**told, "values": list(feature.values[:MOST_VALUES]), "description": describe(feature)}


def _quality(values: dict[str, Any] | None) -> dict[str, Any] | None:
    """What an evaluation says; None if there is none, or none that can be read."""
    try:
        return None if values is None else _scores(Evaluation.from_json(values))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None


def _scores(evaluation: Evaluation) -> dict[str, Any]:
    """The scores on the judged split with their intervals, the decisive one first, and what baselines reach."""
    judged = evaluation.splits[evaluation.judged]
    metrics = sorted(judged, key=lambda metric: metric != evaluation.primary)
    scores = [{"name": label(name), "text": show(name, judged[name]), **judged[name].to_dict()} for name in metrics]
    baselines = [
        {"name": name, "text": show(evaluation.primary, estimates[evaluation.primary]), **estimates[evaluation.primary].to_dict()}
        for name, estimates in evaluation.baselines.items()
        if evaluation.primary in estimates
    ]
    return {
        "summary": evaluation.first_line(),
        "split": evaluation.judged,
        "higher_is_better": evaluation.higher_is_better,
        "scores": scores,
        "baselines": baselines,
    }


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object of a file; None if there is none, as in a bundle, or it is damaged, which is no reason not to serve."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _recipe(path: Path) -> str | None:
    """The recipe, with the name of the data in place of where it lies, which is nobody's business."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        values["data"]["path"] = Path(values["data"]["path"]).name
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None

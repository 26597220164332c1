"""Findings: what a report tells of a model and its data that needs both of them: examples, slices, robustness, latency.

All of it is plain JSON, kept in the run, so that a report can be drawn again where the data is gone. Only the validation split is looked at: the
test split was judged once, at the end of the run, and what was found then is in `evaluation.json`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from modelwright.core.schema import Schema
from modelwright.data.dataset import Dataset
from modelwright.data.display import displayed
from modelwright.data.split import Split
from modelwright.data.token_split import TokenSplit
from modelwright.data.tokenizer import Tokenizer
from modelwright.evaluation.examplewise import Examplewise, evenly
from modelwright.evaluation.latency import FEWEST, Latency, latency
from modelwright.evaluation.perturbation import robustness
from modelwright.evaluation.positions import Positions
from modelwright.evaluation.slices import slices
from modelwright.workflows.job import Job

SHOWN = 18
"""Examples of the data that are shown."""
WORST = 12
"""Examples of the highest loss."""
WORST_TEXTS = 3
PAIRS = 600
"""Points of a plot of predicted against true numbers."""
BINS = 24
LATENCY_BATCH, LATENCY_WINDOWS = 64, 8
THOROUGH_EXAMPLES, THOROUGH_WINDOWS = 5000, 192
"""Examples, or windows of text, that are looked at where time doesn't matter."""
PASSES = 14
"""About how often a network goes over them: robustness is most of it."""
FEWEST_EXAMPLES, FEWEST_WINDOWS = 100, 8
MOST_PIXELS = 1 << 26
"""Pixels of all images that are looked at, times their channels: perturbing them takes several copies in float32."""


@dataclass(frozen=True)
class Search:
    """What is looked at.

    Attributes:
        job: the recipe with its data and task.
        network: the finished one.
        examples: of the validation split, at most.
        deadline: `time.monotonic()` after which nothing new is begun.
    """

    job: Job
    network: nn.Module
    examples: int
    deadline: float = math.inf

    @property
    def dataset(self) -> Dataset:
        """The data."""
        return self.job.dataset

    @property
    def schema(self) -> Schema:
        """The data's."""
        return self.dataset.schema


def affordable_examples(job: Job, seconds: float, each: float) -> int:
    """How many examples of the validation split can be looked at in `seconds`, where an answer takes `each`; 0 if too few to tell anything."""
    text = job.dataset.schema.kind == "text"
    fewest, most = (FEWEST_WINDOWS, THOROUGH_WINDOWS) if text else (FEWEST_EXAMPLES, THOROUGH_EXAMPLES)
    if fewest * each > seconds:
        return 0
    return int(max(fewest, min(most, seconds / max(PASSES * each, 1e-9))))


def find(job: Job, network: nn.Module, *, examples: int | None = None, deadline: float = math.inf) -> dict[str, Any]:
    """Everything that a report needs of data and model, ready for JSON.

    Args:
        job: of the run.
        network: the finished one.
        examples: of the validation split that are looked at, at most; by default as many as make good numbers.
        deadline: `time.monotonic()` after which nothing new is begun.
    """
    text = job.dataset.schema.kind == "text"
    search = Search(job, network, examples or (THOROUGH_WINDOWS if text else THOROUGH_EXAMPLES), deadline)
    found: dict[str, Any] = {"digest": job.dataset.digest(), "flops": job.count.flops, "parameters": job.count.parameters}
    for part in (_of_text,) if text else (_of_data, _of_examples):
        found |= part(search)
    for name, late in (("robustness", _robustness), ("latency", _latency)):
        if time.monotonic() < deadline:
            found[name] = late(search)
    return found


def _held(search: Search) -> tuple[str, Split] | None:
    """The validation split, or the part of it that is looked at."""
    split, schema = search.dataset.splits.get("validation"), search.schema
    most = MOST_PIXELS // math.prod(schema.image.shape) if schema.kind == "image" else search.examples
    return None if split is None else ("validation", split.sample(max(1, min(most, search.examples))))


def _of_data(search: Search) -> dict[str, Any]:
    """Examples of the training split, and how the target is spread over the splits."""
    train = search.dataset.train
    return {"shown": [displayed(train, index) for index in _varied(train)], "target": _target(search.dataset)}


def _varied(split: Split) -> list[int]:
    """Places of a few examples, of as many classes as there are."""
    if split.target is None or split.target.is_floating_point():
        return list(evenly(len(split), SHOWN))
    classes = len(split.schema.classes)
    if classes > SHOWN:
        return list(evenly(len(split), SHOWN))
    each = max(1, SHOWN // classes)
    return [int(place) for label in range(classes) for place in (split.target == label).nonzero()[:each, 0]]


def _target(dataset: Dataset) -> dict[str, Any]:
    """Counts by class, or by bin of a number, of each split."""
    feature = dataset.schema.target
    targets = {name: split.target for name, split in dataset.splits.items() if split.target is not None}
    if feature.type != "number":
        counts = {name: torch.bincount(target, minlength=len(feature.values)).tolist() for name, target in targets.items()}
        return {"classes": list(feature.values), "counts": counts}
    values = {name: target.double() * feature.scale[0] + feature.mean[0] for name, target in targets.items()}
    low = min(float(value.min()) for value in values.values())
    high = max(float(value.max()) for value in values.values())
    high = high if high > low else low + 1
    counts = {name: torch.histc(value.float(), BINS, low, high).int().tolist() for name, value in values.items()}
    return {"edges": [low + (high - low) * place / BINS for place in range(BINS + 1)], "counts": counts}


def _of_examples(search: Search) -> dict[str, Any]:
    """What the model says of each example: the worst, the slices, predicted against true."""
    held = _held(search)
    if held is None:
        return {}
    name, split = held
    task, schema = search.job.task, search.schema
    seen = Examplewise.of(search.network, task, split)
    found: dict[str, Any] = {"split": name, "examples": len(split), "of": len(search.dataset.splits[name])}
    found["worst"] = [{**displayed(split, index), **_said(seen, index)} for index in seen.hardest(WORST)]
    # Half of the time that is left: the p-values take about as long again as the estimates.
    half = time.monotonic() + (search.deadline - time.monotonic()) / 2
    found["slices"] = [part.to_json() for part in slices(schema, split, seen, task, deadline=half, seed=search.job.recipe.seed)]
    if not seen.prediction.classes:
        chosen = list(evenly(len(split), PAIRS))
        feature = schema.target
        true = seen.target.double() * feature.scale[0] + feature.mean[0]
        found["pairs"] = [[float(f"{float(true[i]):.6g}"), float(f"{float(seen.prediction.value[i]):.6g}")] for i in chosen]
    return found


def _said(seen: Examplewise, index: int) -> dict[str, Any]:
    """The model's answer to one example."""
    said: dict[str, Any] = {"loss": float(seen.losses[index])}
    if seen.prediction.probabilities is None:
        return {**said, "predicted": f"{float(seen.prediction.value[index]):.6g}"}
    return {
        **said,
        "predicted": seen.prediction.classes[int(seen.prediction.value[index])],
        "confidence": float(seen.prediction.probabilities[index].max()),
        "probability": float(seen.prediction.probabilities[index, int(seen.target[index])]),
    }


def _of_text(search: Search) -> dict[str, Any]:
    """How the data begins, the loss by position, and passages that surprised the model, token by token."""
    train = search.dataset.train
    assert isinstance(train, TokenSplit), "a text is read in windows"
    tokenizer = Tokenizer.from_json(search.schema.text.tokenizer)
    sizes = {
        name: {"tokens": split.tokens, "bytes": split.bytes, "documents": split.documents}
        for name, split in search.dataset.splits.items()
        if isinstance(split, TokenSplit)
    }
    first = train.gather(torch.tensor(list(evenly(len(train), 3))))
    found: dict[str, Any] = {
        "sizes": sizes,
        "tokenizer": {"kind": tokenizer.kind, "vocabulary": tokenizer.size},
        "shown": [{"text": tokenizer.decode(row.numpy())} for row in first.inputs["tokens"]],
    }
    held = _held(search)
    if held is None:
        return found
    name, split = held
    positions = Positions.of(search.network, split)
    found |= {"split": name, "examples": len(split), "of": len(search.dataset.splits[name]), "positions": positions.course()}
    found["worst"] = [_surprises(positions, index, tokenizer) for index in positions.hardest(WORST_TEXTS)]
    return found


def _surprises(positions: Positions, index: int, tokenizer: Tokenizer) -> dict[str, Any]:
    """A window, cut into pieces of text with the loss of each; a character that spans tokens has that of all of them."""
    decoder = tokenizer.decoder()
    pieces: list[list[Any]] = []
    waiting = 0.0
    decoder.push(int(positions.tokens[index, 0]))
    for token, loss in zip(positions.tokens[index, 1:].tolist(), positions.losses[index].tolist(), strict=True):
        text, waiting = decoder.push(token), waiting + loss
        if text:
            pieces.append([text, round(waiting, 2)])
            waiting = 0.0
    return {"loss": float(positions.losses[index].mean()), "pieces": pieces}


def _robustness(search: Search) -> list[dict[str, Any]]:
    held = _held(search)
    if held is None:
        return []
    courses = robustness(search.network, search.job.task, held[1], deadline=search.deadline, seed=search.job.recipe.seed)
    return [course.to_json() for course in courses]


def _latency(search: Search) -> list[dict[str, Any]]:
    """One example and, if there is time, many at once, of the training split."""
    place = next(search.network.parameters()).device

    def timed(size: int) -> Latency:
        return latency(search.network, search.dataset.train.gather(torch.arange(size)).to(place).inputs)

    alone, many = timed(1), min(LATENCY_WINDOWS if search.schema.kind == "text" else LATENCY_BATCH, len(search.dataset.train))
    affordable = time.monotonic() + (1 + FEWEST) * many * alone.median < search.deadline
    return [alone.to_json(), *([timed(many).to_json()] if affordable else [])]

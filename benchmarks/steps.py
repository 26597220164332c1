"""Trains a few steps of one network in a process of its own, and prints what it took: the truth that plans are held against.

    python benchmarks/steps.py '{"data": {"path": "shape:text,vocabulary=512"}, "model": "lstm", "training": {"precision": "float32"}}'

With `mapped` as a second argument large blocks are mapped one by one, as `train` does where memory is short.
On a CPU `peak` is the most memory that was resident; on a GPU the most that was allocated.
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median

import torch

import modelwright.workflows.train  # noqa: F401  # what a training process has loaded
from modelwright.core.config import validate
from modelwright.data.shape import made_up_batch, parse_shape
from modelwright.models.network import build_network
from modelwright.training.machine import map_blocks, prepare_machine
from modelwright.training.memory import held_bytes, peak_bytes
from modelwright.training.resolution import build_rule
from modelwright.workflows.recipe import Recipe
from modelwright.workflows.tracing import Subject

STEPS, MAPPED_STEPS = 10, 3


def main() -> None:
    """Read the recipe, train, print one JSON object."""
    prepare_machine()
    if mapped := sys.argv[2:] == ["mapped"]:
        map_blocks()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = validate(Recipe, json.loads(sys.argv[1]))
    schema = parse_shape(recipe.data.path, recipe.data.context).schema
    subject = Subject.of(recipe, schema, device.type)
    recipe = subject.recipe
    training = recipe.training.replace(compile=recipe.training.compile is True, optimizer=recipe.training.optimizer.resolved(device))
    base = held_bytes()
    task = recipe.task.build(schema)
    network = build_network(schema, recipe.model, task.outputs, stem=recipe.stem, head=recipe.head).to(device)
    rule = build_rule(training, network, task, 0)
    batch = made_up_batch(schema, training.batch_size).to(device)
    seconds = []
    for step in range(MAPPED_STEPS if mapped else STEPS):
        began = time.perf_counter()
        rule.step(batch, step, 0.4, 0.6)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"base": base, "peak": peak_bytes(), "seconds": median(seconds[2:]), "fastest": min(seconds)}))


if __name__ == "__main__":
    main()

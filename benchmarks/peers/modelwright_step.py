"""Modelwright's training step on a language model of GPT-2's shape, alone: the same measurement as `transformers_gpt2.py speed`.

    modelwright_step.py --layers 6 --width 384 --heads 6 --context 256 --batch 16 --vocabulary 65 --precision bfloat16 --compile

Prints one JSON object in the last line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch

from modelwright.core.batch import Batch
from modelwright.core.schema import Feature, Schema
from modelwright.core.units import Budget
from modelwright.models.family import families
from modelwright.models.network import build_network
from modelwright.tasks.next_token import NextTokenConfig
from modelwright.training.config import TrainingConfig
from modelwright.training.machine import prepare_machine
from modelwright.training.resolution import build_rule


def main() -> None:
    """Read the arguments, do it, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-steps", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=50257)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    prepare_machine()
    text = Feature(name="text", type="text", shape=(arguments.context,), vocabulary=arguments.vocabulary)
    schema = Schema(inputs=(text,), target=text.replace(name="next token"))
    shape = {"width": arguments.width, "depth": arguments.layers, "num_heads": arguments.heads}
    family = families["transformer"].model_validate({"preset": "gpt2-124m", **shape})
    task = NextTokenConfig().build(schema)
    network = build_network(schema, family, task.outputs, seed=arguments.seed)
    config = TrainingConfig(
        budget=Budget(arguments.steps, "steps"),
        optimizer=arguments.optimizer,
        precision=arguments.precision,
        compile=arguments.compile,
        memory_format="contiguous",
    )
    rule = build_rule(config, network, task, arguments.seed)
    generator = torch.Generator().manual_seed(arguments.seed)
    stream = torch.randint(arguments.vocabulary, (arguments.batch, arguments.context + 1), generator=generator)
    batch = Batch({"tokens": stream[:, :-1].contiguous()}, stream[:, 1:].contiguous())
    times = []
    for step in range(arguments.warm_steps + arguments.steps):
        began = time.perf_counter()
        rule.step(batch, step, 0.5, 0.5)
        if step >= arguments.warm_steps:
            times.append(time.perf_counter() - began)
    speed = arguments.batch * arguments.context / statistics.median(times)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    print(json.dumps({"tokens_per_second": speed, "step_seconds": times, "parameters": parameters}))


if __name__ == "__main__":
    main()

"""Modelwright's generator on the same shape of network as `transformers_generate.py`, with the same arguments and the same output."""

from __future__ import annotations

import argparse
import json
import time

import torch

from modelwright.core.schema import Feature, Schema
from modelwright.models.network import build_network
from modelwright.models.transformer import TransformerConfig
from modelwright.serving.precision import Prepared, prepare
from modelwright.serving.reader import CachedReader
from modelwright.serving.sampling import GenerationConfig, Sampler
from modelwright.training.machine import prepare_machine


def main() -> None:
    """Read the arguments, generate, print the speeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--vocabulary", type=int, default=65)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "float16", "bfloat16", "int8"), default="float32")
    arguments = parser.parse_args()
    prepare_machine()
    torch.manual_seed(0)
    text = Feature(name="text", type="text", shape=(arguments.context,), vocabulary=arguments.vocabulary)
    target = Feature(name="next token", type="text", shape=(arguments.context,), vocabulary=arguments.vocabulary)
    shape = {"width": arguments.width, "depth": arguments.layers, "num_heads": arguments.heads}
    family = TransformerConfig.model_validate({"preset": "gpt2-124m", **shape})
    network = build_network(Schema(inputs=(text,), target=target), family, arguments.vocabulary).eval()
    prepared = prepare(network, arguments.precision)
    prompts = torch.randint(1, arguments.vocabulary, (arguments.batch, arguments.prompt)).tolist()
    speeds = []
    for _ in range(1 + arguments.repetitions):
        began = time.perf_counter()
        made = write(prepared, prompts, arguments.context, arguments.tokens)
        speeds.append(arguments.batch * arguments.tokens / (time.perf_counter() - began))
        assert [len(row) for row in made] == [arguments.prompt + arguments.tokens - 1] * arguments.batch
    print(json.dumps({"tokens_per_second": speeds[1:], "parameters": sum(p.numel() for p in network.parameters())}))


@torch.inference_mode()
def write(prepared: Prepared, prompts: list[list[int]], context: int, count: int) -> list[list[int]]:
    """The loop of `Generator` for rows that end together, without a tokenizer; the last token is chosen and not read."""
    reader = CachedReader(prepared.network, prompts, context=context, new_tokens=count, scores=prepared.scores)
    sampler = Sampler(GenerationConfig.model_validate({"temperature": 0}), prompts, range(len(prompts)))
    scores = reader.start()
    for _ in range(count - 1):
        scores = reader.read(sampler(scores).tolist())
    sampler(scores)
    return reader.histories


if __name__ == "__main__":
    main()

"""The common way to continue texts: GPT-2 of `transformers`, `generate` with its cache, greedy, random weights.

    transformers_generate.py --layers 12 --width 768 --heads 12 --vocabulary 50257 --batch 8 --precision bfloat16

Prints one JSON object in the last line: the tokens per second of every repetition, all rows together, reading the prompt included.
"""

from __future__ import annotations

import argparse
import json
import os
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel


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
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=arguments.vocabulary,
        n_positions=arguments.context,
        n_embd=arguments.width,
        n_layer=arguments.layers,
        n_head=arguments.heads,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = GPT2LMHeadModel(config).eval().to(getattr(torch, arguments.precision))
    prompt = torch.randint(1, arguments.vocabulary, (arguments.batch, arguments.prompt))
    how = GenerationConfig(
        max_new_tokens=arguments.tokens,
        min_new_tokens=arguments.tokens,
        do_sample=False,
        use_cache=True,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    speeds = []
    for _ in range(1 + arguments.repetitions):
        began = time.perf_counter()
        with torch.inference_mode():
            out = model.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=how)
        speeds.append(arguments.batch * arguments.tokens / (time.perf_counter() - began))
        assert out.shape == (arguments.batch, arguments.prompt + arguments.tokens)
    print(json.dumps({"tokens_per_second": speeds[1:], "parameters": model.num_parameters()}))


if __name__ == "__main__":
    main()

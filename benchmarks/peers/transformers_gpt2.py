"""The common script for a small language model: `transformers` GPT-2 blocks, a plain loop, AdamW with warmup and cosine.

    transformers_gpt2.py train --data input.txt     # by character, 90/10; losses on the whole validation part and the time they took
    transformers_gpt2.py speed --layers 6 --width 384 --heads 6 --context 256 --batch 16 --precision bfloat16 --compile

Prints one JSON object in the last line. Seconds are those of training steps alone; evaluation and compilation are not counted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

WARMUP, LEARNING_RATE, LOWEST = 100, 1e-3, 1e-4


def model_of(arguments: argparse.Namespace, vocabulary: int) -> GPT2LMHeadModel:
    """GPT-2 of the asked shape, without dropout, weights tied."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=arguments.context,
            n_embd=arguments.width,
            n_layer=arguments.layers,
            n_head=arguments.heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def optimizer_of(model: nn.Module) -> torch.optim.AdamW:
    """AdamW as the common scripts set it, fused: decay on matrices alone."""
    decaying = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decaying, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.99), fused=True)


def rate(step: int, steps: int) -> float:
    """Linear warmup, then a cosine down to a tenth."""
    if step < WARMUP:
        return LEARNING_RATE * (step + 1) / (WARMUP + 1)
    return LOWEST + 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / max(1, steps - WARMUP))) * (LEARNING_RATE - LOWEST)


def loss_of(model: nn.Module, tokens: Tensor, precision: str) -> Tensor:
    """Mean cross-entropy of the next token of windows (B, T+1)."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        logits = model(tokens[:, :-1]).logits
    return nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())


@torch.inference_mode()
def validation_loss(model: GPT2LMHeadModel, stream: Tensor, context: int) -> float:
    """Mean loss over all of the stream but its first token: windows overlap by half, and each token is scored once, as Modelwright does it."""
    model.eval()
    stride, last = context // 2, len(stream) - 1
    starts = [min(start, last - context) for start in range(0, last - context + stride, stride)]
    total, done = 0.0, 0
    for first in range(0, len(starts), 64):
        part = starts[first : first + 64]
        windows = torch.stack([stream[start : start + context + 1] for start in part])
        losses = nn.functional.cross_entropy(model(windows[:, :-1]).logits.flatten(0, 1), windows[:, 1:].flatten(), reduction="none")
        for start, row in zip(part, losses.view(len(part), context), strict=True):
            total += row[done - start :].sum().item()
            done = start + context
    model.train()
    assert done == last
    return total / last


def step_of(model: nn.Module, optimizer: torch.optim.AdamW, tokens: Tensor, precision: str, learning_rate: float) -> None:
    """One update."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    loss_of(model, tokens, precision).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def train(arguments: argparse.Namespace) -> dict[str, object]:
    """Train by character and tell the validation loss along the way."""
    text = Path(arguments.data).read_text(encoding="utf-8")
    letters = sorted(set(text))
    stream = torch.tensor([letters.index(letter) for letter in text])
    cut = int(0.9 * len(stream))
    training, held_out = stream[:cut], stream[cut:]
    model = model_of(arguments, len(letters))
    optimizer = optimizer_of(model)
    history: list[tuple[int, float, float]] = []
    seconds = 0.0
    for step in range(arguments.steps):
        began = time.perf_counter()
        starts = torch.randint(len(training) - arguments.context, (arguments.batch,))
        tokens = torch.stack([training[start : start + arguments.context + 1] for start in starts])
        step_of(model, optimizer, tokens, arguments.precision, rate(step, arguments.steps))
        seconds += time.perf_counter() - began
        if (step + 1) % arguments.evaluate_every == 0 or step + 1 == arguments.steps:
            history.append((step + 1, seconds, validation_loss(model, held_out, arguments.context)))
    best = min(loss for _, _, loss in history)
    return {"history": history, "validation_loss": best, "training_seconds": seconds, "parameters": model.num_parameters()}


def speed(arguments: argparse.Namespace) -> dict[str, object]:
    """Tokens per second of training steps on random tokens."""
    eager = model_of(arguments, arguments.vocabulary)
    optimizer = optimizer_of(eager)
    model: nn.Module = torch.compile(eager) if arguments.compile else eager  # type: ignore[assignment]
    tokens = torch.randint(arguments.vocabulary, (arguments.batch, arguments.context + 1))
    times = []
    for step in range(arguments.warm_steps + arguments.steps):
        began = time.perf_counter()
        step_of(model, optimizer, tokens, arguments.precision, 1e-4)
        if step >= arguments.warm_steps:
            times.append(time.perf_counter() - began)
    per_step = statistics.median(times)
    return {
        "tokens_per_second": arguments.batch * arguments.context / per_step,
        "step_seconds": times,
        "parameters": eager.num_parameters(),
    }


def main() -> None:
    """Read the arguments, do it, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "speed"))
    parser.add_argument("--data")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--warm-steps", type=int, default=2)
    parser.add_argument("--evaluate-every", type=int, default=250)
    parser.add_argument("--vocabulary", type=int, default=50257)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    print(json.dumps({"train": train, "speed": speed}[arguments.what](arguments)))


if __name__ == "__main__":
    main()
